"""Folders of image files: layouts, colour modes, sizes, and every kind of mistake."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from supernets.data import load_dataset

Failure = Callable[..., str]
CLASSES = ("ant", "bee")


def write_image(path: Path, mode: str = "RGB", size: tuple[int, int] = (6, 6), value: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path)


def write_folder(root: Path, parts: tuple[str, ...] = ("train", "test"), count: int = 3, mode: str = "RGB") -> Path:
    for part in parts:
        for offset, name in enumerate(CLASSES):
            for index in range(count):
                write_image(root / part / name / f"{index}.png", mode, value=100 * offset + index)
    return root


@pytest.mark.parametrize("test_name", ["test", "val", "validation"])
def test_folder_with_test_images(tmp_path: Path, test_name: str) -> None:
    write_folder(tmp_path / "set", ("train", test_name))
    (tmp_path / "set" / "README.txt").write_text("not an image, but in no class folder either")
    (tmp_path / "set" / "train" / "ant" / ".DS_Store").write_text("hidden")
    seen: list[tuple[int, int]] = []
    data = load_dataset(tmp_path / "set", progress=lambda done, total: seen.append((done, total)))
    assert (data.name, data.class_names, data.channels) == ("set", CLASSES, 3)
    assert data.train_images[:, 0, 0, 0].tolist() == [0, 1, 2, 100, 101, 102]
    assert data.train_labels.tolist() == data.test_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert seen == [(done, 12) for done in range(1, 13)]


def test_folder_without_test_images(tmp_path: Path) -> None:
    write_folder(tmp_path, (".",), count=10)
    first, again = (load_dataset(tmp_path, test_fraction=0.3, seed=1) for _ in range(2))
    assert np.bincount(first.test_labels).tolist() == [3, 3] and np.bincount(first.train_labels).tolist() == [7, 7]
    values = np.concatenate([first.train_images[:, 0, 0, 0], first.test_images[:, 0, 0, 0]])
    assert sorted(values.tolist()) == [*range(10), *range(100, 110)]
    assert first.fingerprint == again.fingerprint != load_dataset(tmp_path, test_fraction=0.3, seed=2).fingerprint


def test_training_folder_alone_is_split(tmp_path: Path) -> None:
    data = load_dataset(write_folder(tmp_path, ("train",), count=5))
    assert len(data.train_images) == 8 and len(data.test_images) == 2


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)])
def test_modes(tmp_path: Path, mode: str, channels: int) -> None:
    data = load_dataset(write_folder(tmp_path, mode=mode))
    assert data.train_images.shape == (6, 6, 6, channels)


def test_one_colour_image_makes_all_rgb(tmp_path: Path) -> None:
    write_folder(tmp_path, mode="L")
    write_image(tmp_path / "test" / "bee" / "9.jpg", "CMYK")
    data = load_dataset(tmp_path)
    assert data.channels == 3 and data.train_images[1].tolist() == np.full((6, 6, 3), 1).tolist()


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    write_folder(tmp_path)
    pixels = np.zeros((6, 6, 3), np.uint8)
    pixels[:3] = 255
    turned = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was upside down
    turned.save(tmp_path / "train" / "ant" / "0.png", exif=exif)
    np.testing.assert_array_equal(load_dataset(tmp_path).train_images[0], pixels[::-1])


def test_sizes_are_made_alike_on_request(tmp_path: Path, failure: Failure) -> None:
    write_folder(tmp_path)
    write_image(tmp_path / "train" / "bee" / "wide.png", size=(20, 10))
    said = failure(tmp_path)
    assert "wide.png is 20x10" in said and "0.png is 6x6" in said and "pass a size" in said
    assert load_dataset(tmp_path, size=8).train_images.shape == (7, 8, 8, 3)


def test_sixteen_bits_are_refused(tmp_path: Path, failure: Failure) -> None:
    write_folder(tmp_path)
    Image.fromarray(np.full((6, 6), 60000, np.uint16)).save(tmp_path / "train" / "bee" / "deep.png")
    assert "deep.png has more than 8 bits" in failure(tmp_path)


def not_an_image(root: Path) -> None:
    (root / "train" / "bee" / "notes.txt").write_text("hello")


def cut_short(root: Path) -> None:
    path = root / "test" / "ant" / "cut.png"
    Image.effect_noise((40, 40), 90).save(path)
    path.write_bytes(path.read_bytes()[:400])


def empty_file(root: Path) -> None:
    (root / "train" / "ant" / "empty.png").touch()


def unknown_class(root: Path) -> None:
    (root / "test" / "bee").rename(root / "test" / "wasp")


def empty_class(root: Path) -> None:
    (root / "train" / "cat").mkdir()


def only_one_class(root: Path) -> None:
    for part in ("train", "test"):
        (root / part / "bee").rename(root / part / "ant" / "more")


def no_training(root: Path) -> None:
    (root / "train").rename(root / "val")


def no_test_images(root: Path) -> None:
    for file in (root / "test").rglob("*.png"):
        file.unlink()


def outside_classes(root: Path) -> None:
    write_image(root / "train" / "stray.png")


BAD_FOLDERS: dict[Callable[[Path], None], str] = {
    not_an_image: "notes.txt cannot be read as an image",
    cut_short: "cut.png cannot be read as an image",
    empty_file: "empty.png cannot be read as an image",
    unknown_class: "test/wasp is a class that train/ does not have",
    empty_class: "class folder 'cat' holds no image",
    only_one_class: "one class folder, 'ant'",
    no_training: "none called 'train'",
    no_test_images: "the test folder holds no image",
    outside_classes: "stray.png is in no class folder",
}


@pytest.mark.parametrize(("spoil", "message"), BAD_FOLDERS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_bad_folders(tmp_path: Path, spoil: Callable[[Path], None], message: str, failure: Failure) -> None:
    spoil(write_folder(tmp_path))
    said = failure(tmp_path)
    assert message in said and str(tmp_path) in said


def test_empty_folder(tmp_path: Path, failure: Failure) -> None:
    assert "holds no class folders" in failure(tmp_path)


def test_a_class_of_one_cannot_be_split(tmp_path: Path, failure: Failure) -> None:
    write_folder(tmp_path, (".",), count=4)
    write_image(tmp_path / "cat" / "0.png")
    assert "class 'cat' has 1 image" in failure(tmp_path)
