"""Data sets from NumPy archives, the embedded one among them. Pickled contents are refused."""

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from supernets.data.checks import Examples, checked_dataset, checked_images, checked_labels
from supernets.data.dataset import Dataset
from supernets.data.errors import DataError
from supernets.data.images import resized

ALIASES = {
    "x_train": ("x_train", "train_images"),
    "y_train": ("y_train", "train_labels"),
    "x_test": ("x_test", "test_images"),
    "y_test": ("y_test", "test_labels"),
}
"""The arrays that an archive must hold, each under one of these names; `class_names` (text) is optional."""


_DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile)  # what readers of hostile bytes raise; some raise more


def load_npz(path: Path, *, size: int | None = None, name: str | None = None) -> Dataset:
    """Reads a `.npz` archive.

    Args:
        path: archive with uint8 images `x_train`, `x_test` (`[n, h, w]` or `[n, h, w, c]`) and integer labels
            `y_train`, `y_test`, or the aliases in `ALIASES`.
        size: height and width in pixels to scale and crop to; None keeps the images as they are.
        name: the set's name; None takes the file's.

    Raises:
        DataError: not an archive, an array missing or pickled, or arrays that do not fit together.
    """
    arrays = _arrays(path)

    def examples(part: str) -> Examples:
        images = checked_images(arrays[f"x_{part}"], f"{path}: `x_{part}`")
        labels = checked_labels(arrays[f"y_{part}"], len(images), f"{path}: `y_{part}`")
        return Examples(resized(images, size), labels)

    names = tuple(str(text) for text in arrays["class_names"].ravel()) if "class_names" in arrays else None
    return checked_dataset(name or path.stem, examples("train"), examples("test"), names, str(path))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads the required arrays under their first names, and `class_names` if it is there."""
    try:
        archive = np.load(path, allow_pickle=False)
    except (*_DAMAGED, NotImplementedError) as error:
        raise DataError(
            f"{path} is not a readable .npz archive: write it with numpy.savez_compressed, without pickled objects."
        ) from error
    if isinstance(archive, np.ndarray):
        raise DataError(f"{path} holds a single array, but images and labels are needed: use numpy.savez_compressed.")
    with archive:
        chosen = {key: next((name for name in names if name in archive), None) for key, names in ALIASES.items()}
        missing = [" or ".join(ALIASES[key]) for key, name in chosen.items() if name is None]
        if missing:
            raise DataError(
                f"{path} has no array {', no '.join(missing)}; it holds {', '.join(archive.files) or 'nothing'}: "
                "rename or add the arrays."
            )
        if "class_names" in archive:
            chosen["class_names"] = "class_names"
        return {key: _array(archive, name, path) for key, name in chosen.items() if name is not None}


def _array(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> np.ndarray:
    try:
        return np.asarray(archive[name])
    except (*_DAMAGED, RuntimeError, SyntaxError, tokenize.TokenError, zlib.error) as error:
        pickled = "allow_pickle" in str(error)
        problem = "holds pickled Python objects, which are never loaded" if pickled else "is damaged"
        raise DataError(f"{path}: `{name}` {problem}: save it again as a plain numeric or text array.") from error
