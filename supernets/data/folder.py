"""Data sets from folders of image files, one folder per class."""

from pathlib import Path

import numpy as np

from supernets.data.checks import Examples, checked_dataset
from supernets.data.dataset import Dataset, Images
from supernets.data.errors import DataError
from supernets.data.images import Encoded, Progress, decode, problem, with_native_channels
from supernets.data.pictures import Files, Pictures
from supernets.data.sizes import streams
from supernets.data.stratify import stratified_split

TEST_FOLDERS = ("test", "val", "validation", "valid")
"""Names that the folder of test images may have beside `train`; the first that exists is taken."""

_IGNORED = ("Thumbs.db", "desktop.ini")  # left behind by file managers, as names that begin with a dot are
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

Listing = dict[str, list[Path]]
"""The image files of each class, classes and files in the order of their names."""


def load_folder(
    root: Path,
    *,
    size: int | None,
    test_fraction: float,
    seed: int,
    skip_corrupt: bool = False,
    progress: Progress | None = None,
    stream: bool | None = None,
) -> Dataset:
    """Reads `root/train/<class>/*` and `root/test/<class>/*` (or `val`), or `root/<class>/*`.

    Without a test folder, `test_fraction` of the images of each class are set aside for the test, decided by `seed`
    and the files' names. Every file in a class folder counts as an image, at any depth, but hidden ones.

    Raises:
        DataError: no classes, a class without images, a test class unknown to training, or a file that is no image.
    """
    folders = {path.name for path in _entries(root) if path.is_dir()}
    test_name = next((name for name in TEST_FOLDERS if name in folders), None)
    if "train" in folders:
        train = _listing(root / "train")
        test = _listing(root / test_name) if test_name else None
    elif test_name and folders <= set(TEST_FOLDERS):
        raise DataError(f"{root} has a folder {test_name!r}, but none called 'train': add one with training images.")
    else:
        train, test = _listing(root), None
    if skip_corrupt:
        train = without_corrupt(train)
        test = without_corrupt(test) if test is not None else None
    names = tuple(train)
    for name in names:
        if not train[name]:
            raise DataError(f"{root}: class folder {name!r} holds no image: add training images or remove the folder.")
    if len(names) < 2:
        raise DataError(f"{root}: there is one class folder, {names[0]!r}, but training takes at least 2: add classes.")
    if test is None:
        train, test = divided(train, test_fraction, seed, root)
    elif unknown := [name for name, files in test.items() if files and name not in train]:
        raise DataError(
            f"{root}: {test_name}/{unknown[0]} is a class that train/ does not have: the test images are mislabelled, "
            f"or train/{unknown[0]} is missing."
        )
    return read_listing(root, names, train, test, size, progress, stream)


def class_listings(root: Path) -> list[Listing]:
    """The listings of whatever parts a folder has."""
    folders = {path.name for path in _entries(root) if path.is_dir()}
    parts = [name for name in ("train", *TEST_FOLDERS) if name in folders]
    return [_listing(root / name) for name in parts] if "train" in folders else [_listing(root)]


def _entries(folder: Path) -> list[Path]:
    """Returns what is in a folder, by name, less hidden files."""
    try:
        found = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}): check its permissions.") from error
    return [path for path in found if not path.name.startswith(".") and path.name not in _IGNORED]


def _listing(folder: Path) -> Listing:
    """Lists the images of each class folder in `folder`."""
    listing: Listing = {}
    for entry in _entries(folder):
        if entry.is_dir():
            listing[entry.name] = _files(entry)
        elif entry.suffix.lower() in _IMAGE_SUFFIXES:
            raise DataError(f"{entry} is in no class folder: move it to {folder.name}/<class>/, or take it out.")
    if not listing:
        raise DataError(f"{folder} holds no class folders with images: lay it out as {folder.name}/<class>/<image>.")
    return listing


def _files(folder: Path) -> list[Path]:
    files: list[Path] = []
    for entry in _entries(folder):
        files += _files(entry) if entry.is_dir() else [entry]
    return files


def without_corrupt(listing: Listing) -> Listing:
    """The listing less the files that cannot be decoded, which takes decoding each of them once more."""
    return {
        name: [path for path in files if problem(Encoded(str(path), path)) is None] for name, files in listing.items()
    }


def divided(listing: Listing, test_fraction: float, seed: int, root: Path) -> tuple[Listing, Listing]:
    """Sets the test images aside, at least one of each class; a file listed twice stays in one part."""
    distinct = {name: list(dict.fromkeys(files)) for name, files in listing.items()}
    for name, files in distinct.items():
        if len(files) < 2:
            raise DataError(
                f"{root}: class {name!r} has 1 image, but setting test images aside takes at least 2: add images, "
                "or lay the data out as train/<class> and test/<class>."
            )
    labels = np.repeat(np.arange(len(listing)), [len(files) for files in distinct.values()])
    count = max(round(test_fraction * len(labels)), len(listing))
    _, aside = stratified_split(labels, min(count, len(labels) - len(listing)), seed=seed)
    every = [path for files in distinct.values() for path in files]
    chosen = {every[index] for index in aside}
    train = {name: [path for path in files if path not in chosen] for name, files in listing.items()}
    test = {name: [path for path in files if path in chosen] for name, files in listing.items()}
    return train, test


def read_listing(
    root: Path,
    names: tuple[str, ...],
    train: Listing,
    test: Listing,
    size: int | None,
    progress: Progress | None,
    stream: bool | None,
) -> Dataset:
    """Decodes the listed files, or leaves that to the training; the progress counts training and test together."""
    totals = [sum(map(len, listing.values())) for listing in (train, test)]
    if totals[1] == 0:
        raise DataError(f"{root}: the test folder holds no image: add test images, or remove it to split train/.")
    pictures = [[Encoded(str(p), p) for name in names for p in part.get(name, ())] for part in (train, test)]
    labels = [np.repeat(np.arange(len(names)), [len(part.get(name, ())) for name in names]) for part in (train, test)]
    train_images: Images
    test_images: Images
    if streams(sum(totals), pictures[0][0], size=size, wish=stream):
        assert size is not None
        train_images, test_images = (Pictures(Files([Path(p.name) for p in part]), size) for part in pictures)
    else:
        told = (lambda before: lambda done, _: progress(before + done, sum(totals))) if progress else lambda _: None
        parts = [
            decode(part, total, size=size, progress=told(before))
            for part, total, before in zip(pictures, totals, (0, totals[0]), strict=True)
        ]
        train_images, test_images = with_native_channels(*parts)
    train_labels, test_labels = (part.astype(np.int32) for part in labels)
    examples = Examples(train_images, train_labels), Examples(test_images, test_labels)
    return checked_dataset(root.resolve().name, *examples, names, str(root))
