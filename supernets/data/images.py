"""Decoding and resizing of pictures, many at a time."""

import io
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from supernets.data.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Progress = Callable[[int, int], None]
"""Called with the number of images done and the number of all, from the caller's thread."""

_ORIENTATION = 0x0112  # the EXIF tag
_CHUNK = 1024  # pictures in flight: bounds the memory that encoded bytes take
_GREY_MODES = ("1", "L", "LA", "La")
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


class Encoded(NamedTuple):
    """A picture not yet decoded: what error messages call it, and its bytes or the file that holds them."""

    name: str
    content: bytes | Path


class Decoded(NamedTuple):
    """Pictures uint8 `[n, h, w, 3]`, and whether any of them has colour."""

    images: np.ndarray
    colour: bool


def decode(
    pictures: Iterable[Encoded], total: int, *, size: int | None = None, progress: Progress | None = None
) -> Decoded:
    """Decodes pictures of any format that Pillow reads, in threads.

    Palettes become RGB, transparency is dropped, photographs are turned upright as their EXIF data say.

    Args:
        pictures: `total` of them; read as needed, so they may be a generator.
        total: how many there are, at least 1.
        size: height and width in pixels to scale (shorter side) and crop (centre) all to; None keeps them as they are.
        progress: told about every decoded picture.

    Raises:
        DataError: a picture that cannot be read, has more than 8 bits a channel, or differs in size from the first
            while `size` is None. The message names it.
    """
    images = np.empty((0, 0, 0, 3), dtype=np.uint8)
    colour = False
    first_name = ""
    for done, (name, pixels) in enumerate(_decoded(pictures, size), start=1):
        if done == 1:
            images, first_name = np.empty((total, *pixels.shape[:2], 3), dtype=np.uint8), name
        if pixels.shape[:2] != images.shape[1:3]:
            raise DataError(
                f"{name} is {pixels.shape[1]}x{pixels.shape[0]} pixels, but {first_name} is "
                f"{images.shape[2]}x{images.shape[1]}: images must be of one size; pass a size (for example 64) "
                "to scale and crop them."
            )
        images[done - 1] = pixels  # a grey picture fills all three channels
        colour = colour or pixels.shape[2] == 3
        if progress is not None:
            progress(done, total)
    return Decoded(images, colour)


def with_native_channels(train: Decoded, test: Decoded) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images of both with 3 channels if any one has colour, else with 1."""
    if train.colour or test.colour:
        return train.images, test.images
    return np.ascontiguousarray(train.images[..., :1]), np.ascontiguousarray(test.images[..., :1])


def resized(images: np.ndarray, size: int | None) -> np.ndarray:
    """Scales and crops uint8 `[n, h, w, c]` to `[n, size, size, c]`; returns them as they are if None or that already.

    Raises:
        DataError: `size` is not positive.
    """
    check_size(size)
    if size is None or images.shape[1:3] == (size, size):
        return images
    from PIL import Image

    def one(pixels: np.ndarray) -> np.ndarray:
        flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        return _as_array(_fitted(Image.fromarray(np.ascontiguousarray(flat)), size))

    out = np.empty((len(images), size, size, images.shape[3]), dtype=np.uint8)
    with ThreadPoolExecutor(_workers()) as pool:
        for index, pixels in enumerate(pool.map(one, images)):
            out[index] = pixels
    return out


def check_size(size: int | None) -> None:
    """Raises DataError unless `size` is None or a positive number of pixels."""
    if size is not None and size < 1:
        raise DataError(f"image size {size} is not a positive number of pixels: give at least 1, for example 32.")


def _decoded(pictures: Iterable[Encoded], size: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yields each picture's name and pixels `[h, w, 1 or 3]`, in order."""
    source = iter(pictures)
    with ThreadPoolExecutor(_workers()) as pool:
        while chunk := list(islice(source, _CHUNK)):
            names = [picture.name for picture in chunk]
            yield from zip(names, pool.map(lambda picture: _decode_one(picture, size), chunk), strict=True)


def _decode_one(picture: Encoded, size: int | None) -> np.ndarray:
    from PIL import Image, ImageOps

    content = io.BytesIO(picture.content) if isinstance(picture.content, bytes) else picture.content
    try:
        with Image.open(content) as image:
            if image.mode not in _DEEP_MODES:
                # Grey stays grey; everything else, palettes and CMYK too, is RGB to the networks.
                upright = image if image.getexif().get(_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)
                return _as_array(_fitted(upright.convert("L" if upright.mode in _GREY_MODES else "RGB"), size))
            mode = image.mode
    except Exception as error:  # decoders of hostile bytes raise anything from struct.error to SyntaxError
        raise DataError(
            f"{picture.name} cannot be read as an image ({_reason(error)}): repair it or take it out of the data."
        ) from error
    raise DataError(
        f"{picture.name} has more than 8 bits a channel (Pillow mode {mode}), but pixels must fit 0..255: "
        "convert it to an 8-bit image."
    )


def _fitted(image: "Image.Image", size: int | None) -> "Image.Image":
    from PIL import Image, ImageOps

    if size is None or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)


def problem(picture: Encoded) -> str | None:
    """Why a picture cannot be decoded, in the words of `decode`; None if it can."""
    try:
        _decode_one(picture, None)
    except DataError as error:
        return str(error)
    return None


def _as_array(image: "Image.Image") -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _workers() -> int:
    return min(16, os.cpu_count() or 1)


def _reason(error: Exception) -> str:
    # Pillow says "cannot identify image file <_io.BytesIO object at 0x...>": only the first half helps a person.
    text = (str(error) or type(error).__name__).splitlines()[0]
    return text.partition(" <_io.")[0].partition(" '")[0]
