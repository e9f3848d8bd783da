"""A labelled set of images in memory, as training, evaluation and the run's record see it."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from supernets.data.pictures import Pictures
from supernets.data.stratify import stratified_split

_CHUNK = 1024  # images a step, so that statistics of a large set need little extra memory
_SAMPLE = 2048  # pictures that the moments of a streamed set are taken from

Images = np.ndarray | Pictures


class Split(NamedTuple):
    """Training examples divided in two: images uint8 `[n, h, w, c]`, labels int32 `[n]`; validation is decoded."""

    train_images: Images
    train_labels: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, divided into training and test examples.

    `load_dataset` makes checked ones: square images, labels within `0 .. num_classes - 1`, every class in training.

    Attributes:
        name: what the set is called in reports.
        train_images: uint8 `[n, h, w, c]`, c = 1 (grey) or 3 (RGB); or pictures that are decoded when they are needed.
        train_labels: int32 `[n]`.
        test_images: likewise, m of them.
        test_labels: int32 `[m]`.
        class_names: one name per class, in the order of the labels.
    """

    name: str
    train_images: Images
    train_labels: np.ndarray
    test_images: Images
    test_labels: np.ndarray
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Number of classes, whether or not the test examples hold them all."""
        return len(self.class_names)

    @property
    def image_size(self) -> int:
        """Height of the images in pixels, which is their width too."""
        return int(self.train_images.shape[1])

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for RGB."""
        return int(self.train_images.shape[3])

    @property
    def streamed(self) -> bool:
        """Whether the images are pictures that are decoded when they are needed."""
        return isinstance(self.train_images, Pictures)

    @property
    def mean(self) -> np.ndarray:
        """Mean of each channel over the training images (streamed: some) scaled to 0..1, float32 `[c]`."""
        return self._moments[0]

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of each channel over the same, scaled to 0..1, float32 `[c]`, never zero."""
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        counts = np.zeros((self.channels, 256), dtype=np.int64)
        images = self.train_images
        if isinstance(images, Pictures):
            images = images.subset(np.unique(np.linspace(0, len(images) - 1, _SAMPLE, dtype=np.int64)))
        for start in range(0, len(images), _CHUNK):
            chunk = images[start : start + _CHUNK]
            for channel in range(self.channels):
                counts[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
        shares = counts / counts.sum(axis=1, keepdims=True)
        values = np.arange(256) / 255.0
        mean = shares @ values
        variance = (shares * (values - mean[:, None]) ** 2).sum(axis=1)
        # One grey level is the least that an image can vary by: a constant channel must not divide by zero.
        std = np.maximum(np.sqrt(variance), 1 / 255)
        return mean.astype(np.float32), std.astype(np.float32)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of every image, label and class name; the set's own name does not count.

        Of streamed pictures, names and sizes of the files stand for the images.
        """
        digest = hashlib.sha256(b"nas-dataset-1")
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            if isinstance(array, Pictures):
                digest.update(array.fingerprint)
                continue
            digest.update(str(array.shape).encode())
            # Little-endian on every machine, so that a fingerprint travels.
            digest.update(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).data)
        for name in self.class_names:
            digest.update(f"{len(name)}:{name}".encode())
        return digest.hexdigest()

    def split(self, validation: int, seed: int = 0) -> Split:
        """Sets training examples aside for validation, each class in proportion to its size.

        Args:
            validation: how many examples to set aside.
            seed: the same set, number and seed give the same split.

        Returns:
            Copies of the two parts, each in the order of the training examples; of pictures, the validation part
            decoded, the other not.

        Raises:
            DataError: `validation` is less than 1 or leaves a class without training examples.
        """
        kept, aside = stratified_split(self.train_labels, validation, seed=seed)
        images = self.train_images
        training = images.subset(kept) if isinstance(images, Pictures) else images[kept]
        return Split(training, self.train_labels[kept], images[aside], self.train_labels[aside])
