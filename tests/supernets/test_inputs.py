"""What batch norms are recalibrated on: images as the training saw them, the same for the same seed."""

from dataclasses import replace

import numpy as np
import pytest

from supernets import TrainConfig
from supernets.data.pictures import Files, Pictures
from supernets.images import prepare
from supernets.inputs import Recipe, seen_images

MEAN, STD = np.full(3, 0.4, np.float32), np.full(3, 0.2, np.float32)


@pytest.fixture
def images(rng):
    return rng.integers(1, 256, (40, 12, 12, 3), dtype=np.uint8)


def recipe(**changes):
    return Recipe.of(TrainConfig(**{"shift": 0, "flip": False} | changes), MEAN, STD)


def test_without_augmentation_they_are_the_images(images):
    found = seen_images(images, recipe(), count=40, size=12)
    plain = np.asarray(prepare(images, MEAN, STD, size=12))
    order = np.lexsort(found.reshape(40, -1).T), np.lexsort(plain.reshape(40, -1).T)
    np.testing.assert_allclose(found[order[0]], plain[order[1]], rtol=1e-6)


def test_borders_enter_as_they_did_in_the_training(images):
    """A pixel of the first row is outside for half of the shifts by up to 4 that move at all, 4 of 9."""
    black = (0 - MEAN) / STD
    found = seen_images(np.repeat(images, 20, axis=0), recipe(shift=4), count=800, size=12)
    share = (np.abs(found[:, 0, 6] - black) < 1e-6).all(axis=-1).mean()
    assert share == pytest.approx(4 / 9, abs=0.07)  # four standard deviations


def test_mixing_is_left_out_and_the_seed_decides(images):
    mixed = replace(recipe(shift=2), mixup=1.0, cutmix=1.0)
    np.testing.assert_array_equal(
        seen_images(images, mixed, count=10, size=12), seen_images(images, recipe(shift=2), count=10, size=12)
    )
    other = seen_images(images, recipe(shift=2, seed=1), count=10, size=12)
    assert not np.array_equal(other, seen_images(images, recipe(shift=2), count=10, size=12))


def test_of_pictures_random_parts_are_taken(tmp_path, images):
    from PIL import Image

    for i, pixels in enumerate(np.repeat(np.repeat(images[:6], 4, axis=1), 4, axis=2)):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    pictures = Pictures(Files(sorted(tmp_path.iterdir())), 12)
    crops = Recipe.of(TrainConfig(flip=False), MEAN, STD, crops=True)
    found = seen_images(pictures, crops, count=6, size=12)
    np.testing.assert_array_equal(found, seen_images(pictures, crops, count=6, size=12))
    whole = np.asarray(prepare(pictures[np.arange(6)], MEAN, STD, size=12))
    distance = np.abs(found[:, None] - whole[None]).mean(axis=(2, 3, 4))
    assert (distance > 1e-3).all()
