"""Properties of data sets in files: pictures come back as they were, whatever their number, size and classes."""

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from supernets.data import load_dataset
from supernets.data.errors import DataError
from supernets.data.stratify import stratified_split

CASES = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
labels = st.lists(st.integers(0, 4), min_size=2, max_size=60)


@st.composite
def data_sets(draw):
    """Pictures uint8 `[n, s, s, c]` and labels of classes 0..k-1, each class in both halves."""
    classes, each = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    size, channels = draw(st.integers(4, 20)), draw(st.sampled_from([1, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    shape = (classes * each, size, size, channels)
    return *(rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(2)), np.arange(classes * each) % classes


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(stream, "PNG")
    return stream.getvalue()


def same(found, images, y):
    """Whether a part of a data set holds these pictures with these labels, in any order."""
    return sorted((int(label), image.tobytes()) for image, label in zip(*found, strict=True)) == sorted(
        (int(label), image.tobytes()) for image, label in zip(images, y, strict=True)
    )


@CASES
@given(data_sets())
def test_every_layout_gives_the_pictures_back(tmp_path_factory, data):
    import pyarrow as pa
    import pyarrow.parquet as pq

    train, test, y = data
    root = tmp_path_factory.mktemp("layouts")
    np.savez(root / "d.npz", x_train=train, y_train=y, x_test=test, y_test=y)
    (root / "hf").mkdir()
    for part, images in (("train", train), ("test", test)):
        rows = [{"bytes": png(image), "path": None} for image in images]
        pq.write_table(pa.table({"image": rows, "label": y}), root / "hf" / f"{part}-0.parquet")
        for i, (image, label) in enumerate(zip(images, y, strict=True)):
            folder = root / "folder" / part / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i}.png").write_bytes(png(image))
    for place in ("d.npz", "hf", "folder"):
        found = load_dataset(root / place)
        assert found.num_classes == len(set(y.tolist())) and found.image_size == train.shape[1]
        assert same((found.train_images, found.train_labels), train, y), place
        assert same((found.test_images, found.test_labels), test, y), place


@CASES
@given(labels, st.integers(-1, 70), st.integers(0, 999))
def test_a_stratified_split_is_one_or_refused(y, count, seed):
    y = np.array(y)
    sizes = np.bincount(y)
    classes = int((sizes > 0).sum())
    if not 1 <= count <= len(y) - classes:
        with pytest.raises(DataError):
            stratified_split(y, count, seed=seed)
        return
    kept, aside = stratified_split(y, count, seed=seed)
    assert len(aside) == count and sorted([*kept, *aside]) == list(range(len(y)))
    assert set(y[kept]) == set(y)  # every class keeps at least one
    for part in zip((kept, aside), stratified_split(y, count, seed=seed), strict=True):
        assert (part[0] == part[1]).all()
    share = np.bincount(y[aside], minlength=len(sizes))
    room = sizes > 1
    assert (np.abs(share - count * sizes / len(y)) < classes)[room].all()
