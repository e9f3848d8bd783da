"""Data sets from a `.csv` file with a row a picture: its path, its class, and perhaps which part it belongs to."""

import csv
from collections.abc import Sequence
from pathlib import Path

from supernets.data.dataset import Dataset
from supernets.data.errors import DataError
from supernets.data.folder import Listing, divided, read_listing, without_corrupt
from supernets.data.images import Progress

_PATH = ("path", "file", "image")
_LABEL = ("label", "class")
_PARTS = {"train": "train", "": "train", "test": "test", "val": "test", "validation": "test", "valid": "test"}


def load_csv(
    path: Path,
    *,
    size: int | None,
    test_fraction: float,
    seed: int,
    skip_corrupt: bool = False,
    progress: Progress | None = None,
    stream: bool | None = None,
) -> Dataset:
    """Reads a file whose header names `path` (or file, image), `label` (or class) and perhaps `split`.

    Paths are relative to the file's folder. Labels are names; classes come in the order of their names. Without a row
    of the test part, `test_fraction` of each class are set aside as for a folder.

    Raises:
        DataError: a column, a label or a picture missing, an unknown part, or too few classes.
    """
    train, test = listings(path)
    if skip_corrupt:
        train, test = without_corrupt(train), without_corrupt(test)
    for name, files in train.items():
        if not files:
            raise DataError(f"{path}: class {name!r} has no training picture: add some, or remove its rows.")
    if len(train) < 2:
        raise DataError(f"{path}: {len(train)} class, but training takes at least 2: add classes.")
    if not any(test.values()):
        train, test = divided(train, test_fraction, seed, path)
    return read_listing(path, tuple(train), train, test, size, progress, stream)


def listings(path: Path) -> tuple[Listing, Listing]:
    """The files of each class, by name, of the training and of the test part."""
    parts: dict[str, Listing] = {"train": {}, "test": {}}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            names = rows.fieldnames or []
            where = _column(path, names, _PATH)
            what = _column(path, names, _LABEL)
            for row in rows:
                part = _PARTS.get((row.get("split") or "").strip().lower())
                label, picture = (row[what] or "").strip(), (row[where] or "").strip()
                if part is None or not label or not picture:
                    raise DataError(
                        f"{path}, line {rows.line_num}: needs a {where}, a {what} and, if any, a split of "
                        f"{', '.join(filter(None, _PARTS))}; correct the line."
                    )
                parts[part].setdefault(label, []).append(path.parent / picture)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a readable CSV file ({error}): write it as UTF-8 with a header.") from error
    classes = sorted({*parts["train"], *parts["test"]})
    train, test = ({name: parts[part].get(name, []) for name in classes} for part in ("train", "test"))
    return train, test


def _column(path: Path, names: Sequence[str], wanted: tuple[str, ...]) -> str:
    found = next((name for name in wanted if name in names), None)
    if found is None:
        raise DataError(f"{path} has no column {' or '.join(wanted)}; its header is {', '.join(names) or 'empty'}.")
    return found
