"""Data sets from folders of Parquet files as Hugging Face lays them out."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from supernets.data.checks import Examples, checked_dataset, checked_labels
from supernets.data.dataset import Dataset
from supernets.data.errors import DataError
from supernets.data.images import Decoded, Encoded, Progress, decode, with_native_channels
from supernets.data.pictures import Pictures, Rows
from supernets.data.sizes import streams
from supernets.data.stratify import stratified_split

if TYPE_CHECKING:
    import pyarrow as pa

TEST_PREFIXES = ("test", "validation", "valid", "val")
"""What the names of files with test images begin with; the first prefix that any file has is taken."""

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "labels", "fine_label")
_ROWS = 512


@dataclass(frozen=True, slots=True)
class _Shards:
    """The files of one part of the data, with the columns that hold images and labels."""

    files: tuple[Path, ...]
    image: str
    label: str
    rows: int
    class_names: tuple[str, ...] | None


def parquet_files(root: Path) -> list[Path]:
    """Returns the Parquet files in `root`, or else in `root/data`, by name."""
    return sorted(root.glob("*.parquet")) or sorted(root.glob("data/*.parquet"))


def parquet_pictures(root: Path) -> Iterator[tuple[str, Encoded]]:
    """Class and encoded image of every row of every file, training and test alike; read as needed.

    Raises:
        DataError: as `load_parquet`, but not for a picture that cannot be decoded.
    """
    shards = _shards(parquet_files(root))
    names = shards.class_names
    for label, picture in zip(_labels(shards).tolist(), _pictures(shards), strict=True):
        yield (names[label] if names and label < len(names) else str(label)), picture


def load_parquet(
    root: Path,
    *,
    size: int | None,
    test_fraction: float,
    seed: int,
    progress: Progress | None = None,
    stream: bool | None = None,
) -> Dataset:
    """Reads `train*.parquet` and `test*.parquet` (or `validation*`), in `root` or in `root/data`.

    The columns are `image`, a struct of `bytes` and `path` or plain binary, and `label`, an integer. Class names come
    from the Hugging Face metadata in the schema where they are. Without test files, `test_fraction` of the rows of
    each class are set aside for the test, decided by `seed`.

    Raises:
        DataError: a file that cannot be read, a column missing, or rows that do not make a data set.
    """
    files = parquet_files(root)
    train_files = [path for path in files if path.name.startswith("train")]
    if not train_files:
        raise DataError(f"{root} has no train*.parquet, but {files[0].name!r}: rename the training files.")
    prefix = next((prefix for prefix in TEST_PREFIXES if any(path.name.startswith(prefix) for path in files)), None)
    train = _shards(train_files)
    test = _shards([path for path in files if path.name.startswith(prefix)]) if prefix else None
    total = train.rows + (test.rows if test else 0)

    def told(before: int) -> Progress | None:
        return (lambda done, _: progress(before + done, total)) if progress else None

    # Labels first: they are quick to check, and decoding takes a while.
    train_labels = _labels(train)
    test_labels = _labels(test) if test else None
    if streams(total, next(_pictures(train)), size=size, wish=stream):
        assert size is not None
        pictures = Pictures(_rows(train), size)
        if test is not None and test_labels is not None:
            tests = Examples(Pictures(_rows(test), size), test_labels)
            parts = Examples(pictures, train_labels), tests
        else:
            kept, aside = stratified_split(train_labels, max(1, round(test_fraction * train.rows)), seed=seed)
            chosen = [Examples(pictures.subset(rows), train_labels[rows]) for rows in (kept, aside)]
            parts = chosen[0], chosen[1]
        return checked_dataset(root.resolve().name, *parts, train.class_names, str(root))
    train_part = decode(_pictures(train), train.rows, size=size, progress=told(0))
    if test is None or test_labels is None:
        count = max(1, round(test_fraction * train.rows))
        kept, aside = stratified_split(train_labels, count, seed=seed)
        images, _ = with_native_channels(train_part, train_part)
        parts = Examples(images[kept], train_labels[kept]), Examples(images[aside], train_labels[aside])
    else:
        test_part: Decoded = decode(_pictures(test), test.rows, size=size, progress=told(train.rows))
        train_images, test_images = with_native_channels(train_part, test_part)
        parts = Examples(train_images, train_labels), Examples(test_images, test_labels)
    return checked_dataset(root.resolve().name, *parts, train.class_names, str(root))


def _shards(files: list[Path]) -> _Shards:
    """Reads the schemas of one part's files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                schema, found = file.schema_arrow, file.metadata.num_rows
                present = schema.names  # in a damaged file, not always text
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{path} is not a readable Parquet file: write or download it again.") from error
        columns = {
            what: next((name for name in names if name in present), None)
            for what, names in (("image", _IMAGE_COLUMNS), ("label", _LABEL_COLUMNS))
        }
        for what, name in columns.items():
            if name is None:
                raise DataError(
                    f"{path} has no column {what!r}, only {', '.join(present) or 'none'}: rename its columns."
                )
        rows += found
    if rows == 0:
        raise DataError(f"{files[0]} holds no rows: give at least one image of each class.")
    label = str(columns["label"])
    return _Shards(tuple(files), str(columns["image"]), label, rows, _class_names(schema, label))


def _rows(shards: _Shards) -> Rows:
    """The pictures of all files by row."""
    import pyarrow.parquet as pq

    groups = []
    for path in shards.files:
        with pq.ParquetFile(path) as file:
            groups.append([file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)])
    return Rows(shards.files, shards.image, groups)


def _class_names(schema: "pa.Schema", label: str) -> tuple[str, ...] | None:
    """Returns the names that Hugging Face's metadata give the classes, if any."""
    try:
        names = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None  # written by another tool: the classes are known by their numbers
    return tuple(str(name) for name in names) if isinstance(names, list) and names else None


def _labels(shards: _Shards) -> np.ndarray:
    """Reads the label column of all files, int32 `[rows]`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = []
    for path in shards.files:
        what = f"{path}: column `{shards.label}`"
        column = _guarded(partial(pq.read_table, path, columns=[shards.label]), path).column(0)
        if column.null_count:
            raise DataError(f"{what} has {column.null_count} empty labels: fill them in or leave those rows out.")
        if not pa.types.is_integer(column.type):
            raise DataError(f"{what} has type {column.type}, but labels must be integers, 0 for the first class.")
        columns.append(checked_labels(column.to_numpy(), len(column), what) if len(column) else np.empty(0, np.int32))
    labels = np.concatenate(columns)
    if len(labels) != shards.rows:
        raise DataError(
            f"{shards.files[0]} is damaged: {shards.rows} rows announced, {len(labels)} there; write again."
        )
    return labels


def _pictures(shards: _Shards) -> Iterator[Encoded]:
    """Yields the encoded images of all files, a few at a time."""
    import pyarrow.parquet as pq

    for path in shards.files:
        with pq.ParquetFile(path) as file:
            batches = file.iter_batches(batch_size=_ROWS, columns=[shards.image])
            row = 0
            while (batch := _guarded(partial(next, batches, None), path)) is not None:
                for value in _guarded(batch.column(0).to_pylist, path):
                    content = value.get("bytes") if isinstance(value, dict) else value
                    if not isinstance(content, bytes):
                        raise DataError(
                            f"{path}, row {row}: column `{shards.image}` holds no image bytes: "
                            "embed the images in the file instead of paths to them."
                        )
                    yield Encoded(f"{path}, row {row}", content)
                    row += 1
            if row != file.metadata.num_rows:
                raise DataError(f"{path} is damaged: {row} of {file.metadata.num_rows} images there; write it again.")


def _guarded(read: Callable[[], Any], path: Path) -> Any:
    """Calls `read`; a damaged file is the person's mistake, not the program's."""
    import pyarrow as pa

    try:
        return read()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path} is damaged ({str(error).splitlines()[0]}): write or download it again.") from error
