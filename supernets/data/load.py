"""One door to every source of data."""

import os
from pathlib import Path
from typing import Any

from supernets.data.csv_file import load_csv
from supernets.data.dataset import Dataset
from supernets.data.errors import DataError
from supernets.data.folder import load_folder
from supernets.data.images import Progress, check_size
from supernets.data.npz import load_npz
from supernets.data.parquet import load_parquet, parquet_files

DEFAULT_DATASET = "fashion-mnist-6k"
"""The data set that comes with the package: 6,000 / 1,000 grey images of 28x28, 10 classes."""

_EMBEDDED = {DEFAULT_DATASET: "fashion_mnist_6k.npz"}
_ACCEPTED = (
    f"use {', '.join(repr(name) for name in _EMBEDDED)} (embedded), a .npz file, "
    "a .csv of paths, a folder of class folders, or a folder of Hugging Face Parquet files"
)


def load_dataset(
    source: str | Path = DEFAULT_DATASET,
    *,
    size: int | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    skip_corrupt: bool = False,
    progress: Progress | None = None,
    stream: bool | None = None,
) -> Dataset:
    """Loads and checks a data set.

    Args:
        source: one of

            - `"fashion-mnist-6k"`, which is embedded in the package;
            - a `.npz` file with uint8 `x_train`, `x_test` and integer `y_train`, `y_test` (see `supernets.data.npz`);
            - a `.csv` file with a row a picture: `path`, `label` and perhaps `split` (see `supernets.data.csv_file`);
            - a folder of images, `train/<class>/*` and `test/<class>/*` (or `val`), or only `<class>/*`;
            - a folder with Hugging Face Parquet, `train*.parquet` and `test*.parquet` (or `validation*`).
        size: height and width in pixels that every image is scaled and cropped to. None keeps them as they are; they
            must then be square and all of one size.
        test_fraction: share of each class set aside where a folder has no test images of its own, between 0 and 1.
        seed: decides which images those are.
        skip_corrupt: leave out pictures of a folder or a `.csv` that cannot be decoded, instead of refusing the data.
        progress: called with (images decoded, images in all) for folders and Parquet.
        stream: True leaves pictures of a folder, a `.csv` or Parquet where they are, to be decoded when they are
            needed; False decodes all of them now; None streams what would need more than 4 GiB.

    Returns:
        The data set; grey images have 1 channel, all others and streamed ones 3.

    Raises:
        DataError: anything wrong with the source, in one line that names it and says what to do.
    """
    check_size(size)
    if not 0 < test_fraction < 1:
        raise DataError(f"test fraction {test_fraction} is not between 0 and 1: give for example 0.2.")
    if isinstance(source, str) and source in _EMBEDDED:
        _check_streamable(source, stream)
        return load_npz(Path(__file__).with_name(_EMBEDDED[source]), size=size, name=source)
    path = Path(source).expanduser()
    if not str(source) or not os.path.exists(path):  # unlike Path.exists, False for a name that is too long
        raise DataError(f"data source {str(source)!r} is neither a known name nor an existing path: {_ACCEPTED}.")
    how: Any = {"size": size, "test_fraction": test_fraction, "seed": seed, "progress": progress, "stream": stream}
    if path.is_dir():
        if parquet_files(path):
            return load_parquet(path, **how)
        if nested := sorted(path.glob("*/*.parquet")):
            raise DataError(f"{path} holds Parquet files only in its folders: give one of them, as {nested[0].parent}.")
        return load_folder(path, skip_corrupt=skip_corrupt, **how)
    if path.suffix.lower() == ".npz":
        _check_streamable(source, stream)
        return load_npz(path, size=size)
    if path.suffix.lower() == ".csv":
        return load_csv(path, skip_corrupt=skip_corrupt, **how)
    raise DataError(
        f"data source {str(source)!r} is a file of an unknown kind ({path.suffix or 'no suffix'}): {_ACCEPTED}."
    )


def _check_streamable(source: str | Path, stream: bool | None) -> None:
    if stream:
        raise DataError(f"{source} is an archive of arrays, which is read whole: stream a folder or Parquet instead.")
