"""Makes the embedded data set: 6,000 training and 1,000 test images of Fashion-MNIST, the same number of each class.

Run once; its result is committed. The four original files are read from a folder, by default the one that
Debian's package `dataset-fashion-mnist` fills:

    .venv/bin/python scripts/make_fashion_subset.py [FOLDER]

Training images come from the original training file only and test images from the original test file only. Which
ones is decided by a fixed seed, and the archive carries fixed dates, so a second run writes the same bytes.
"""

import gzip
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

SEED = 2017
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
TARGET = Path(__file__).resolve().parent.parent / "supernets" / "data" / "fashion_mnist_6k.npz"


def read_idx(path: Path) -> np.ndarray:
    """Reads a gzipped IDX file of unsigned bytes: two zero bytes, type 8, rank, big-endian sizes, contents."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path.name} is not an IDX file of unsigned bytes.")
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape.tolist())


def stratified(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the sorted indices of `per_class` examples of each class."""
    chosen = [rng.choice(np.flatnonzero(labels == c), per_class, replace=False) for c in range(len(CLASSES))]
    return np.sort(np.concatenate(chosen))


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes what `np.savez_compressed` would, at the highest compression and with a fixed date."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(2017, 8, 25, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue(), compresslevel=9)


def main(folder: Path) -> None:
    """Reads the original files in `folder` and writes the subset into the package."""
    rng = np.random.default_rng(SEED)
    arrays: dict[str, np.ndarray] = {}
    for ours, theirs, per_class in (("train", "train", 600), ("test", "t10k", 100)):
        images = read_idx(folder / f"{theirs}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{theirs}-labels-idx1-ubyte.gz")
        keep = stratified(labels, per_class, rng)
        arrays[f"x_{ours}"], arrays[f"y_{ours}"] = images[keep], labels[keep]
    arrays["class_names"] = np.array(CLASSES)
    write_npz(TARGET, arrays)
    print(f"{TARGET.name}: {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/datasets/fashion-mnist"))
