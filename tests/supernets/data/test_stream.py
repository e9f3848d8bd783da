"""Streamed pictures: each once an epoch, the same from any start, for any number of hosts and workers."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from supernets.data import DataError, load_dataset
from supernets.data.images import Encoded, centred, random_crop
from supernets.data.order import epoch_order, lanes
from supernets.data.pictures import Pictures
from supernets.data.stream import Stream

COLOURS = np.array([(220, 30, 30), (30, 220, 30), (30, 30, 220), (200, 200, 40)])


def picture(label, i, suffix="PNG"):
    """A picture of some size whose colour tells its class."""
    pixels = np.empty((20 + i % 7, 24 + i % 5, 3), np.uint8)
    pixels[:] = COLOURS[label] + i % 10
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, suffix)
    return stream.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for part, count in (("train", 24), ("test", 4)):
        for label in range(4):
            (root / part / f"class{label}").mkdir(parents=True)
            for i in range(count):
                (root / part / f"class{label}" / f"{i}.png").write_bytes(picture(label, i))
    return root


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    for part, files in (("train", 3), ("test", 1)):
        for f in range(files):
            rows = [{"bytes": picture(i % 4, i), "path": None} for i in range(32)]
            table = pa.table({"image": rows, "label": [i % 4 for i in range(32)]})
            pq.write_table(table, root / f"{part}-{f}.parquet", row_group_size=5)
    return root


def stream(data, host=0, hosts=1, workers=0, batch_size=16):
    return Stream(data.train_images, data.train_labels, batch_size, (3, 0), host, hosts, workers)


@pytest.mark.parametrize("source", ["folder", "shards"])
def test_streamed_pictures_have_their_labels_and_come_once_an_epoch(request, source):
    data = load_dataset(request.getfixturevalue(source), size=16, stream=True)
    assert data.streamed and data.train_images.shape == (96, 16, 16, 3) and data.num_classes == 4
    batches = stream(data)
    assert batches.per_epoch == 6
    for _ in range(2):
        labels = []
        for _ in range(6):
            images, found = next(batches)
            assert images.shape == (16, 16, 16, 3) and images.dtype == np.uint8
            distance = np.abs(images.mean(axis=(1, 2))[:, None] - COLOURS - 5).sum(axis=-1)
            assert (distance.argmin(axis=1) == found).all()
            labels += found.tolist()
        assert np.bincount(labels).tolist() == [24] * 4
    batches.close()
    split = data.split(8, 0)
    assert isinstance(split.train_images, Pictures) and len(split.train_images) == 88
    distance = np.abs(split.validation_images.mean(axis=(1, 2))[:, None] - COLOURS - 5).sum(axis=-1)
    assert (distance.argmin(axis=1) == split.validation_labels).all()
    memory = load_dataset(request.getfixturevalue(source), size=16)
    assert not memory.streamed and np.array_equal(memory.test_images, data.test_images[:])
    np.testing.assert_allclose(memory.mean, data.mean, atol=1e-6)
    assert data.fingerprint == load_dataset(request.getfixturevalue(source), size=16, stream=True).fingerprint


def test_hosts_and_workers_do_not_change_the_stream(shards):
    data = load_dataset(shards, size=8, stream=True)
    whole = [next(s) for s in [stream(data)] for _ in range(9)]
    halves = [[next(s) for s in [stream(data, host, 2)] for _ in range(9)] for host in range(2)]
    for i, (images, labels) in enumerate(whole):
        assert np.array_equal(np.concatenate([half[i][0] for half in halves]), images)
        assert np.array_equal(np.concatenate([half[i][1] for half in halves]), labels)
    later = stream(data)
    later.seek(7)  # in the second epoch
    assert all(np.array_equal(a, b) for a, b in zip(next(later), whole[7], strict=True))
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(whole[:3], whole[6:], strict=False))


@pytest.mark.slow
def test_processes_decode_what_threads_do(shards):
    data = load_dataset(shards, size=8, stream=True)
    here, there = stream(data), stream(data, workers=2)
    for _ in range(3):
        assert all(np.array_equal(a, b) for a, b in zip(next(here), next(there), strict=True))
    there.close()


def test_order_reads_blocks_together():
    blocks = np.repeat(np.arange(400), 50)
    order = epoch_order(blocks, batch_size=64, lanes=8, seed=(0,), epoch=0)
    assert order.shape == (20_000 // 64, 64) and len(np.unique(order)) == order.size
    lane = order.reshape(-1, 8, 8)[:, 3].ravel()
    spans = [np.flatnonzero(blocks[lane] == b) for b in np.unique(blocks[lane])]
    assert max(np.ptp(s) for s in spans) < 2 * 512 + 50  # a block's pictures lie within neighbouring windows
    assert len(spans) <= 400 / 8 + 2  # lanes share no more than the blocks at their borders
    other = epoch_order(blocks, batch_size=64, lanes=8, seed=(0,), epoch=1)
    assert not np.array_equal(order, other)
    assert [lanes(64, h) for h in (1, 2, 16)] == [8, 8, 16]


def test_random_crop_of_a_large_photograph_is_that_of_its_pixels(rng):
    y, x = np.mgrid[0:480, 0:640]
    photo = np.stack([x / 2.6, y / 2, (x + y) / 5], axis=-1).astype(np.uint8)
    encoded = {}
    for suffix in ("JPEG", "PNG"):
        stream = io.BytesIO()
        Image.fromarray(photo).save(stream, suffix)
        encoded[suffix] = Encoded(suffix, stream.getvalue())
    areas = []
    for seed in range(20):
        a, b = (random_crop(e, 32, np.random.default_rng(seed)).astype(float) for e in encoded.values())
        assert a.shape == (32, 32, 3) and np.abs(a - b).mean() < 4  # decoded at a fraction of its size
        areas.append(np.ptp(b[..., 0]) * 2.6 * np.ptp(b[..., 1]) * 2 / (480 * 640))
    assert min(areas) < 0.3 and max(areas) > 0.5
    assert centred(encoded["PNG"], 32).shape == (32, 32, 3)


def test_what_cannot_be_streamed_is_said(folder, tmp_path):
    with pytest.raises(DataError, match="size"):
        load_dataset(folder, stream=True)
    with pytest.raises(DataError, match="archive"):
        load_dataset(stream=True)
    for label in range(2):
        (tmp_path / f"c{label}").mkdir()
        for i in range(8):
            (tmp_path / f"c{label}" / f"{i}.png").write_bytes(picture(label, i) if i or label else b"no picture")
    broken = stream(load_dataset(tmp_path, size=8, stream=True, test_fraction=0.2), batch_size=4)
    with pytest.raises(DataError, match="c0/0.png"):
        for _ in range(6):
            next(broken)
