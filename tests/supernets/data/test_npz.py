"""NumPy archives: what is read, and what is refused with which words."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from supernets.data import DataError, load_dataset

Arrays = Callable[..., dict[str, np.ndarray]]
Failure = Callable[..., str]
CLASSES = ("ant", "bee")


def test_npz_with_other_names_and_grey_images(tmp_path: Path, arrays: Arrays) -> None:
    base = arrays(class_names=CLASSES)
    np.savez(
        tmp_path / "grey.npz",
        train_images=base["x_train"][..., 0],
        train_labels=base["y_train"][:, None].astype(np.uint8),
        test_images=base["x_test"][..., 0],
        test_labels=base["y_test"],
        class_names=base["class_names"],
    )
    data = load_dataset(str(tmp_path / "grey.npz"))
    assert (data.name, data.channels, data.image_size, data.class_names) == ("grey", 1, 6, CLASSES)
    np.testing.assert_array_equal(data.train_images[..., 0], base["x_train"][..., 0])
    assert data.train_labels.tolist() == [0, 1] * 4


def test_npz_is_resized(tmp_path: Path, arrays: Arrays) -> None:
    np.savez(tmp_path / "a.npz", **arrays(x_train=np.full((8, 6, 9, 1), 7, np.uint8), x_test=np.zeros((4, 6, 9), "u1")))
    data = load_dataset(tmp_path / "a.npz", size=12)
    assert data.train_images.shape == (8, 12, 12, 1) and (data.train_images == 7).all()


BAD_ARCHIVES: dict[str, tuple[dict[str, object], str]] = {
    "missing": ({"x_test": None, "y_test": None}, r"no array x_test or test_images, no y_test or test_labels"),
    "pickled images": ({"x_train": np.array([{}] * 8, dtype=object)}, r"`x_train` holds pickled"),
    "pickled names": ({"class_names": np.array([{}, "b"], dtype=object)}, r"`class_names` holds pickled"),
    "float images": ({"x_train": np.zeros((8, 6, 6, 3))}, r"`x_train` has type float64.*uint8"),
    "channels first": ({"x_train": np.zeros((8, 3, 6, 6), np.uint8)}, r"`x_train` has shape \[8, 3, 6, 6\]"),
    "flat images": ({"x_train": np.zeros((8, 36), np.uint8)}, r"`x_train` has shape \[8, 36\]"),
    "no images": ({"x_test": np.zeros((0, 6, 6), np.uint8), "y_test": []}, r"`x_test`.*holds no image"),
    "sizes differ": ({"x_test": np.zeros((4, 5, 5, 3), np.uint8)}, r"6x6x3, but test images 5x5x3"),
    "colours differ": ({"x_test": np.zeros((4, 6, 6), np.uint8)}, r"6x6x3, but test images 6x6x1"),
    "not square": (
        {"x_train": np.zeros((8, 6, 7), "u1"), "x_test": np.zeros((4, 6, 7), "u1")},
        r"6x7x1, but must be sq",
    ),
    "count": ({"y_train": np.zeros(7, int)}, r"`y_train` has 7 labels for 8 images"),
    "negative": ({"y_train": np.array([0, 1] * 3 + [0, -1])}, r"`y_train` has label -1 at index 7"),
    "huge": ({"y_train": np.array([0, 1] * 3 + [0, 2**40])}, r"`y_train` has label 1099511627776 at index 7"),
    "sparse": ({"y_train": np.array([0, 1] * 3 + [0, 2**31 - 1])}, r"class 2 has no training example"),
    "float labels": ({"y_train": np.arange(8) % 2 + 0.5}, r"`y_train` has type float64"),
    "one-hot": ({"y_train": np.eye(8, dtype=int)}, r"`y_train` has shape \[8, 8\].*one-hot"),
    "from one": ({"y_train": np.arange(8) % 2 + 1, "y_test": np.arange(4) % 2 + 1}, r"class 0 has no training example"),
    "mislabelled": ({"y_test": np.array([0, 1, 5, 0])}, r"test example 2 has label 5, which no training.*mislabelled"),
    "out of range": ({"class_names": CLASSES, "y_train": np.arange(8) % 3}, r"training example 2 has label 2.*0\.\.1"),
    "unused name": ({"class_names": (*CLASSES, "cat")}, r"class 2 \(cat\) has no training example"),
    "one class": ({"y_train": np.zeros(8, int), "y_test": np.zeros(4, int)}, r"1 class.*at least 2"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_bad_archives(
    tmp_path: Path, changes: dict[str, object], message: str, arrays: Arrays, failure: Failure
) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays(**changes))  # one case is an array of objects, which the reader must refuse
    said = failure(path)
    assert str(path) in said
    with pytest.raises(DataError, match=message):
        load_dataset(path)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut short", b"\x80\x04pickle"])
def test_files_that_are_no_archive(tmp_path: Path, content: bytes, failure: Failure) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    assert "not a readable .npz" in failure(path)


def test_damaged_archive(tmp_path: Path, arrays: Arrays, failure: Failure) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **arrays())
    raw = bytearray(path.read_bytes())
    raw[120:200] = b"\xff" * 80
    path.write_bytes(raw)
    assert "`x_train` is damaged" in failure(path)


def test_a_single_array_is_no_data_set(tmp_path: Path, failure: Failure) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    assert "a single array" in failure(tmp_path / "a.npz")
