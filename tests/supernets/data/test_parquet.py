"""Hugging Face Parquet: shards, class names, real files, and damaged or unsuitable ones."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from supernets.data import DataError, load_dataset

Failure = Callable[..., str]
CLASSES = ("ant", "bee")


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def table(images: list[bytes | None], labels: list[object], names: tuple[str, ...] | None = CLASSES) -> pa.Table:
    """A table as Hugging Face's `datasets` writes it."""
    content = pa.array(
        [{"bytes": image, "path": None} for image in images], pa.struct({"bytes": "binary", "path": "str"})
    )
    made = pa.table({"image": content, "label": pa.array(labels)})
    if names is None:
        return made
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write_parquet(
    root: Path, rng: np.random.Generator, train: int = 8, test: int | None = 4, **options: object
) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, count in (("train-00000-of-00001", train), ("test-00000-of-00001", test)):
        if count is not None:
            images = [png(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)) for _ in range(count)]
            pq.write_table(table(images, [i % 2 for i in range(count)], **options), root / f"{name}.parquet")  # type: ignore[arg-type]
    return root


def test_parquet(tmp_path: Path, rng: np.random.Generator) -> None:
    shown = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    write_parquet(tmp_path / "set" / "data", rng)
    pq.write_table(table([png(shown)], [1]), tmp_path / "set" / "data" / "train-00001-of-00002.parquet")
    seen: list[int] = []
    data = load_dataset(tmp_path / "set", progress=lambda done, total: seen.append(done * 100 + total))
    assert data.class_names == CLASSES and data.train_labels.tolist() == [0, 1] * 4 + [1]
    np.testing.assert_array_equal(data.train_images[8], shown)
    assert data.test_images.shape == (4, 6, 6, 3) and seen[-1] == 1313


def test_parquet_without_names_or_test_rows(tmp_path: Path, rng: np.random.Generator) -> None:
    data = load_dataset(write_parquet(tmp_path, rng, train=20, test=None, names=None), test_fraction=0.25)
    assert data.class_names == ("0", "1")
    assert len(data.train_images) == 15 and len(data.test_images) == 5


GREY = png(np.zeros((6, 6), np.uint8))
BAD_TABLES: dict[str, tuple[pa.Table, str]] = {
    "out of range": (table([GREY] * 3, [0, 1, 2]), r"training example 2 has label 2.*only 2 classes"),
    "negative": (table([GREY] * 3, [0, 1, -1]), r"label -1 at index 2"),
    "empty label": (table([GREY] * 3, [0, 1, None]), r"1 empty labels"),
    "float label": (table([GREY] * 3, [0.0, 1.0, 1.0]), r"type double.*integers"),
    "text label": (table([GREY] * 3, ["ant", "bee", "bee"]), r"type string.*integers"),
    "no bytes": (table([GREY, GREY, None], [0, 1, 1]), r"row 2: column `image` holds no image bytes"),
    "not an image": (table([GREY, GREY, b"hello"], [0, 1, 1]), r"row 2 cannot be read as an image"),
    "no rows": (table([], []), r"holds no rows"),
    "no label": (pa.table({"image": [GREY], "y": [0]}), r"no column 'label', only image, y"),
    "no image": (pa.table({"label": [0]}), r"no column 'image', only label"),
}


@pytest.mark.parametrize(("bad", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_tables(tmp_path: Path, rng: np.random.Generator, bad: pa.Table, message: str, failure: Failure) -> None:
    write_parquet(tmp_path, rng)
    pq.write_table(bad, tmp_path / "train-00000-of-00001.parquet")
    assert str(tmp_path) in failure(tmp_path)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path)


def test_parquet_that_cannot_be_read(tmp_path: Path, rng: np.random.Generator, failure: Failure) -> None:
    write_parquet(tmp_path, rng)
    (tmp_path / "test-00000-of-00001.parquet").write_bytes(b"PAR1 nothing PAR1")
    assert "test-00000-of-00001.parquet is not a readable Parquet file" in failure(tmp_path)


def test_parquet_damaged_inside(tmp_path: Path, rng: np.random.Generator, failure: Failure) -> None:
    path = write_parquet(tmp_path, rng) / "train-00000-of-00001.parquet"
    raw = bytearray(path.read_bytes())
    raw[4:200] = b"\xff" * 196
    path.write_bytes(raw)
    assert "train-00000-of-00001.parquet" in failure(tmp_path)


def test_parquet_without_training_file(tmp_path: Path, rng: np.random.Generator, failure: Failure) -> None:
    (write_parquet(tmp_path, rng, test=None) / "train-00000-of-00001.parquet").rename(tmp_path / "all.parquet")
    assert "has no train*.parquet, but 'all.parquet'" in failure(tmp_path)


@pytest.mark.parametrize(("name", "size"), [("cifar10_jpeg", 32), ("imagenette64", 64)])
def test_real_parquet(shared_data: Path, tmp_path: Path, name: str, size: int) -> None:
    for part, rows in (("train", 300), ("test", 150)):
        file = pq.ParquetFile(shared_data / name / f"{part}.parquet")
        batch = next(file.iter_batches(batch_size=rows))
        pq.write_table(pa.Table.from_batches([batch], file.schema_arrow), tmp_path / f"{part}.parquet")
    data = load_dataset(tmp_path)
    assert data.train_images.shape == (300, size, size, 3) and len(data.test_images) == 150
    assert data.num_classes == 10 and not data.class_names[0].isdigit()
    assert 0.3 < data.mean.min() < data.mean.max() < 0.6


def test_a_folder_above_names_the_one_to_give(tmp_path: Path, rng: np.random.Generator, failure: Failure) -> None:
    write_parquet(tmp_path / "set", rng)
    assert f"give one of them, as {tmp_path / 'set'}" in failure(tmp_path)
