"""Pictures with everything wrong with them: named, counted, skipped only if asked; a CSV of paths trains alike."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from supernets.data import DataError, load_dataset
from supernets.data.inspect import inspect_pictures


@pytest.fixture
def pictures(tmp_path, rng):
    root = tmp_path / "pictures"
    for name, count in (("cat", 22), ("dog", 2)):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(root / name / f"{i:02}.png")
    Image.fromarray(rng.integers(0, 60000, (12, 12)).astype(np.uint16)).save(root / "cat" / "deep.png")
    Image.fromarray(rng.integers(0, 255, (9, 14), dtype=np.uint8)).save(root / "cat" / "grey.png")
    whole = (root / "cat" / "00.png").read_bytes()
    (root / "cat" / "half.png").write_bytes(whole[: len(whole) // 2])
    return root


def test_findings(pictures):
    found = inspect_pictures(pictures)
    assert found.classes == {"cat": 23, "dog": 2}
    assert {name.rpartition("/")[2] for name in found.corrupt} == {"deep.png", "half.png"}
    assert found.sizes == {"12 x 12": 24, "14 x 9": 1} and found.modes["RGB"] >= 24 and found.modes["L"] == 1
    assert found.imbalance == 11.5 and len(found.advice) == 4


def test_command_names_the_corrupt_and_draws_a_sheet(pictures, nas, tmp_path):
    done = nas("data", "check", pictures, "--sheet", tmp_path / "sheet.png", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["corrupt"]) == 2
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (640, 2 * 78)
    missing = nas("data", "check", tmp_path / "nowhere")
    assert missing.returncode == 2 and "error: " in missing.stderr


def test_archives_and_parquet_are_looked_over_too(tmp_path, rng, nas):
    import pyarrow as pa
    import pyarrow.parquet as pq

    images, y = rng.integers(0, 255, (6, 8, 8, 1), dtype=np.uint8), np.arange(6) % 2
    np.savez(tmp_path / "d.npz", x_train=images, y_train=y, x_test=images[:2], y_test=y[:2])
    found = inspect_pictures(tmp_path / "d.npz")
    assert found.classes == {"0": 4, "1": 4} and found.sizes == {"8 x 8": 8} and found.modes == {"L": 8}
    stream = io.BytesIO()
    Image.fromarray(images[0, ..., 0]).save(stream, "PNG")
    rows = [{"bytes": content, "path": None} for content in (stream.getvalue(), b"no picture", stream.getvalue())]
    (tmp_path / "hf").mkdir()
    pq.write_table(pa.table({"image": rows, "label": [0, 1, 1]}), tmp_path / "hf" / "train-0.parquet")
    found = inspect_pictures(tmp_path / "hf")
    assert found.classes == {"0": 1, "1": 1} and [name.rpartition(", ")[2] for name in found.corrupt] == ["row 1"]
    for source in ("d.npz", "hf"):
        assert nas("data", "check", tmp_path / source, "--sheet", tmp_path / "sheet.png").returncode == 0


def test_corrupt_pictures_are_skipped_only_if_asked(pictures):
    with pytest.raises(DataError, match=r"deep\.png|half\.png"):
        load_dataset(pictures, size=12)
    data = load_dataset(pictures, size=12, skip_corrupt=True)
    assert len(data.train_images) + len(data.test_images) == 25


def test_csv_of_paths_is_the_same_data(pictures, tmp_path):
    rows = [(path, path.parent.name) for path in sorted(pictures.glob("*/[0-9]*.png"))]
    file = tmp_path / "data.csv"
    lines = [f"{path.relative_to(tmp_path)},{name},{'test' if path.stem == '00' else 'train'}" for path, name in rows]
    file.write_text("path,label,split\n" + "\n".join(lines) + "\n")
    data = load_dataset(file)
    assert data.class_names == ("cat", "dog") and data.test_labels.tolist() == [0, 1]
    assert len(data.train_images) == 22
    file.write_text("path,label,split\n" + lines[0] + "\n,cat,train\n")
    with pytest.raises(DataError, match="line 3"):
        load_dataset(file)
    repeated = [f"{path.relative_to(tmp_path)},{name}" for path, name in rows for _ in range(2)]
    file.write_text("path,label\n" + "\n".join(repeated) + "\n")
    data = load_dataset(file)
    assert len(data.train_images) + len(data.test_images) == 48  # and a picture listed twice is in one part only
    assert not {part.tobytes() for part in data.train_images} & {part.tobytes() for part in data.test_images}
    file.write_text("where,label\n")
    with pytest.raises(DataError, match="no column path"):
        load_dataset(file)
    file.write_text("path,label\na.png,cat\nb.png,cat\nc.png,dog\nd.png,dog\n")
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset(file)
