"""Checks shared by all sources: what images, labels and classes must be before anything is trained on them."""

from typing import NamedTuple

import numpy as np

from supernets.data.dataset import Dataset, Images
from supernets.data.errors import DataError


class Examples(NamedTuple):
    """Images uint8 `[n, h, w, c]`, or pictures, and their labels int32 `[n]`."""

    images: Images
    labels: np.ndarray


def checked_images(images: np.ndarray, what: str) -> np.ndarray:
    """Returns `images` as uint8 `[n, h, w, c]`; grey ones may come as `[n, h, w]`.

    Raises:
        DataError: another type or shape, or no image at all; `what` names the array.
    """
    if images.dtype != np.uint8:
        raise DataError(f"{what} has type {images.dtype}, but pixels must be uint8 (0..255): scale and convert them.")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise DataError(
            f"{what} has shape {list(images.shape)}, but images must be [n, height, width] or "
            "[n, height, width, channels] with 1 or 3 channels last: transpose or convert them."
        )
    if 0 in images.shape:
        raise DataError(f"{what} has shape {list(images.shape)}, which holds no image: give at least one.")
    return images


def checked_labels(labels: np.ndarray, count: int, what: str) -> np.ndarray:
    """Returns `labels` as int32 `[count]`; a column `[count, 1]` will do.

    Raises:
        DataError: another type, shape or number, or a negative label; `what` names the array.
    """
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{what} has type {labels.dtype}, but labels must be integers, 0 for the first class.")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"{what} has shape {list(labels.shape)}, but there must be one label per image, [n]: "
            "turn one-hot rows into class numbers."
        )
    if len(labels) != count:
        raise DataError(f"{what} has {len(labels)} labels for {count} images: give exactly one for each image.")
    for extreme in (int(labels.min()), int(labels.max())):
        if not 0 <= extreme < 2**31:
            where = int(np.flatnonzero(labels == extreme)[0])
            raise DataError(
                f"{what} has label {extreme} at index {where}, but labels start at 0: "
                "correct it or leave that example out."
            )
    return labels.astype(np.int32)


def checked_dataset(
    name: str, train: Examples, test: Examples, class_names: tuple[str, ...] | None, source: str
) -> Dataset:
    """Puts a data set together from checked arrays.

    Args:
        name: the set's name.
        train: training examples.
        test: test examples.
        class_names: names in the order of the labels; None numbers the classes that the training labels span.
        source: what the error messages call the data.

    Raises:
        DataError: training and test disagree, images are not square, or labels and classes do not fit together.
    """
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{source}: training images are {_shape(train.images)}, but test images {_shape(test.images)}; "
            "they must be alike: pass a size, and use the same colour mode for both."
        )
    if train.images.shape[1] != train.images.shape[2]:
        raise DataError(
            f"{source}: images are {_shape(train.images)}, but must be square: "
            "pass a size (for example 32) to scale and crop them."
        )
    _check_classes(train.labels, test.labels, class_names, source)
    names = class_names or tuple(str(label) for label in range(int(train.labels.max()) + 1))
    return Dataset(name, train.images, train.labels, test.images, test.labels, names)


def _check_classes(train: np.ndarray, test: np.ndarray, names: tuple[str, ...] | None, source: str) -> None:
    """Raises unless every label has a class, and every class has training examples."""
    if names is not None:
        for part, labels in (("training", train), ("test", test)):
            if (worst := int(labels.max())) >= len(names):
                where = int(np.flatnonzero(labels == worst)[0])
                raise DataError(
                    f"{source}: {part} example {where} has label {worst}, but there are only {len(names)} classes "
                    f"(0..{len(names) - 1}): correct the label or name its class."
                )
    present = np.unique(train)
    unknown = np.setdiff1d(test, present)
    if unknown.size:
        where = int(np.flatnonzero(test == unknown[0])[0])
        raise DataError(
            f"{source}: test example {where} has label {_named(int(unknown[0]), names)}, which no training example "
            "has: the test data are mislabelled, or training examples of that class are missing."
        )
    expected = len(names) if names is not None else int(present[-1]) + 1
    if len(present) < expected:
        # `present` is sorted: the first label that is not its own position is preceded by a gap.
        gaps = np.flatnonzero(present != np.arange(len(present)))
        first = int(gaps[0]) if gaps.size else len(present)
        raise DataError(
            f"{source}: class {_named(first, names)} has no training example, but every class from 0 to "
            f"{expected - 1} needs one: number the classes from 0 without gaps."
        )
    if expected < 2:
        raise DataError(f"{source}: there is {expected} class, but telling images apart takes at least 2: add classes.")


def _named(label: int, names: tuple[str, ...] | None) -> str:
    return f"{label} ({names[label]})" if names is not None else str(label)


def _shape(images: Images) -> str:
    height, width, channels = images.shape[1:]
    return f"{height}x{width}x{channels}"
