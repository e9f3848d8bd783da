"""The embedded data set, what a data set can tell, its splits, and the one door to all sources."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from supernets.data import DataError, Dataset, load_dataset
from supernets.data.stratify import stratified_split

Arrays = Callable[..., dict[str, np.ndarray]]
Failure = Callable[..., str]


@pytest.fixture(scope="module")
def fashion() -> Dataset:
    return load_dataset()


def test_embedded_set(fashion: Dataset) -> None:
    assert fashion.name == "fashion-mnist-6k"
    assert fashion.train_images.shape == (6000, 28, 28, 1) and fashion.train_images.dtype == np.uint8
    assert fashion.test_images.shape == (1000, 28, 28, 1) and fashion.test_labels.dtype == np.int32
    assert np.bincount(fashion.train_labels).tolist() == [600] * 10
    assert np.bincount(fashion.test_labels).tolist() == [100] * 10
    assert fashion.num_classes == 10 and fashion.class_names[9] == "Ankle boot"
    # The published mean and standard deviation of all 60,000 images are 0.2860 and 0.3530.
    assert fashion.mean == pytest.approx([0.286], abs=0.003) and fashion.std == pytest.approx([0.353], abs=0.003)
    assert fashion.fingerprint == "e56903f25c975ee7c050c039fd4a4ea8113c94dfbe97b19a9b76309de175a612"


def test_embedded_test_images_are_not_in_training(fashion: Dataset) -> None:
    seen = {image.tobytes() for image in fashion.train_images}
    assert not any(image.tobytes() in seen for image in fashion.test_images)


def test_notice_is_beside_the_data(root: Path) -> None:
    notice = (root / "supernets" / "data" / "NOTICE.md").read_text(encoding="utf-8")
    assert "2017 Zalando SE" in notice and "MIT License" in notice


def test_moments_are_those_of_the_pixels(tmp_path: Path, arrays: Arrays) -> None:
    np.savez(tmp_path / "a.npz", **arrays())
    data = load_dataset(tmp_path / "a.npz")
    scaled = data.train_images / 255.0
    np.testing.assert_allclose(data.mean, scaled.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(data.std, scaled.std((0, 1, 2)), rtol=1e-6)
    assert data.mean.dtype == data.std.dtype == np.float32


def test_std_of_a_constant_channel_is_not_zero(tmp_path: Path, arrays: Arrays) -> None:
    np.savez(tmp_path / "a.npz", **arrays(x_train=np.full((8, 6, 6, 3), 7, np.uint8)))
    assert (load_dataset(tmp_path / "a.npz").std > 0).all()


def test_fingerprint_follows_the_contents(tmp_path: Path, arrays: Arrays) -> None:
    base = arrays()
    np.savez(tmp_path / "a.npz", **base)
    np.savez_compressed(tmp_path / "b.npz", **base)
    prints = [load_dataset(tmp_path / name).fingerprint for name in ("a.npz", "b.npz")]
    for key in ("x_train", "x_test"):
        changed = {name: array.copy() for name, array in base.items()}
        changed[key][0, 0, 0, 0] ^= 1
        np.savez(tmp_path / "c.npz", **changed)
        prints.append(load_dataset(tmp_path / "c.npz").fingerprint)
    np.savez(tmp_path / "d.npz", **base, class_names=np.array(["ant", "bee"]))
    prints.append(load_dataset(tmp_path / "d.npz").fingerprint)
    assert prints[0] == prints[1] and len(set(prints)) == 4


def test_split_is_stratified_and_repeats(fashion: Dataset) -> None:
    split = fashion.split(1000, seed=3)
    assert np.bincount(split.validation_labels).tolist() == [100] * 10
    assert len(split.train_images) == 5000 and split.validation_images.shape == (1000, 28, 28, 1)
    again, other = fashion.split(1000, seed=3), fashion.split(1000, seed=4)
    np.testing.assert_array_equal(split.validation_images, again.validation_images)
    assert (split.validation_images != other.validation_images).any()
    both = np.concatenate([split.train_images, split.validation_images]).reshape(6000, -1)
    np.testing.assert_array_equal(np.sort(both.sum(1)), np.sort(fashion.train_images.reshape(6000, -1).sum(1)))


@pytest.mark.parametrize("count", [0, -1, 5991, 10**9])
def test_impossible_splits_are_refused(fashion: Dataset, count: int) -> None:
    with pytest.raises(DataError, match=f"{count} of 6000.*1 to 5990"):
        fashion.split(count)


def test_stratified_split_of_unequal_classes() -> None:
    labels = np.repeat([0, 1, 2], [90, 9, 1])
    for count in (1, 2, 10, 50, 97):
        kept, aside = stratified_split(labels, count, seed=0)
        assert len(aside) == count and sorted([*kept, *aside]) == list(range(100))
        assert set(labels[kept]) == {0, 1, 2}
    assert np.bincount(labels[stratified_split(labels, 10, seed=0)[1]]).tolist() == [9, 1]


def test_unknown_sources_say_what_is_accepted(tmp_path: Path, failure: Failure) -> None:
    (tmp_path / "a.xlsx").touch()
    for source in ("fashion", "", "x" * 5000, tmp_path / "absent", tmp_path / "a.xlsx"):
        said = failure(source)
        for accepted in ("'fashion-mnist-6k'", ".npz", "folder of class folders", "Parquet"):
            assert accepted in said


@pytest.mark.parametrize("options", [{"size": 0}, {"size": -3}, {"test_fraction": 0.0}, {"test_fraction": 1.0}])
def test_impossible_options(options: dict[str, float], failure: Failure) -> None:
    assert str(*options.values()) in failure("fashion-mnist-6k", **options)
