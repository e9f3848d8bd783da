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
    with ThreadPoolExecutor(workers()) as pool:
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
    with ThreadPoolExecutor(workers()) as pool:
        while chunk := list(islice(source, _CHUNK)):
            names = [picture.name for picture in chunk]
            yield from zip(names, pool.map(lambda picture: centred(picture, size), chunk), strict=True)


def centred(picture: Encoded, size: int | None) -> np.ndarray:
    """A picture scaled by its shorter side and cropped in the centre, uint8 `[h, w, 1 or 3]`; as it is without a size.

    Raises:
        DataError: if it cannot be read, or has more than 8 bits a channel; names it.
    """
    return _decoding(picture, lambda image: _fitted(_upright(image), size))


def random_crop(picture: Encoded, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random part of a picture, 8-100 % of its area at a ratio of 3/4-4/3, brought to `[size, size, 1 or 3]`.

    As Inception was trained (Szegedy et al., CVPR 2015); of large JPEGs only as much is decoded as the
    part needs.

    Raises:
        DataError: as `centred`.
    """
    from PIL import Image

    def cropped(image: "Image.Image") -> "Image.Image":
        box = _random_box(*image.size, rng)
        if image.format == "JPEG":  # in eighths, decoded by its own cosine transform
            w, h = image.size
            image.draft(None, (round(w * size / (box[2] - box[0])), round(h * size / (box[3] - box[1]))))
            x, y = image.size[0] / w, image.size[1] / h
            box = box[0] * x, box[1] * y, box[2] * x, box[3] * y
        return _turned(_plain(image).resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0))

    return _decoding(picture, cropped)


def _random_box(width: int, height: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    for _ in range(10):
        area = width * height * rng.uniform(0.08, 1.0)
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return x, y, x + w, y + h
    side = min(width, height)
    x, y = (width - side) // 2, (height - side) // 2
    return x, y, x + side, y + side


def _decoding(picture: Encoded, wanted: Callable[["Image.Image"], "Image.Image"]) -> np.ndarray:
    from PIL import Image

    content = io.BytesIO(picture.content) if isinstance(picture.content, bytes) else picture.content
    try:
        with Image.open(content) as image:
            if image.mode not in _DEEP_MODES:
                return _as_array(wanted(image))
            mode = image.mode
    except Exception as error:  # decoders of hostile bytes raise anything from struct.error to SyntaxError
        raise DataError(
            f"{picture.name} cannot be read as an image ({_reason(error)}): repair it or take it out of the data."
        ) from error
    raise DataError(
        f"{picture.name} has more than 8 bits a channel (Pillow mode {mode}), but pixels must fit 0..255: "
        "convert it to an 8-bit image."
    )


def _upright(image: "Image.Image") -> "Image.Image":
    return _turned(_plain(image))


def _plain(image: "Image.Image") -> "Image.Image":
    """Grey stays grey; everything else, palettes and CMYK too, is RGB to the networks."""
    return image.convert("L" if image.mode in _GREY_MODES else "RGB")


def _turned(image: "Image.Image") -> "Image.Image":
    """As its EXIF data say."""
    from PIL import ImageOps

    return image if image.getexif().get(_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)


def _fitted(image: "Image.Image", size: int | None) -> "Image.Image":
    from PIL import Image, ImageOps

    if size is None or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)


def size_of(picture: Encoded) -> tuple[int, int]:
    """Width and height in pixels.

    Raises:
        DataError: if it cannot be read; names it.
    """
    height, width = _decoding(picture, lambda image: image).shape[:2]
    return width, height


def problem(picture: Encoded) -> str | None:
    """Why a picture cannot be decoded, in the words of `decode`; None if it can."""
    try:
        centred(picture, None)
    except DataError as error:
        return str(error)
    return None


def _as_array(image: "Image.Image") -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def workers() -> int:
    """Threads that decode."""
    return min(16, os.cpu_count() or 1)


def _reason(error: Exception) -> str:
    # Pillow says "cannot identify image file <_io.BytesIO object at 0x...>": only the first half helps a person.
    text = (str(error) or type(error).__name__).splitlines()[0]
    return text.partition(" <_io.")[0].partition(" '")[0]
