"""Looking a data set over before training: what cannot be read, of what sizes and kinds the rest is, who is rare."""

import io
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from supernets.data.csv_file import listings
from supernets.data.errors import DataError
from supernets.data.folder import class_listings
from supernets.data.images import Encoded, problem
from supernets.data.npz import load_npz
from supernets.data.parquet import parquet_files, parquet_pictures

RARE = 10.0  # a class this many times smaller than the largest is worth a word
_CAPTION = 14  # px above a row of the contact sheet
_CHUNK = 1024  # pictures in flight: bounds the memory that encoded bytes take


@dataclass(frozen=True)
class Findings:
    """What is in a data set's files.

    Attributes:
        classes: Readable pictures of each class, training and test together.
        sizes: Pictures by "width x height".
        modes: Pictures by Pillow's mode: L is grey, RGB colour, I;16 has 16 bits.
        corrupt: What is wrong with every picture that cannot be used, by file.
    """

    classes: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    corrupt: dict[str, str] = field(default_factory=dict)

    @property
    def imbalance(self) -> float:
        """Largest class over the smallest; infinite if one is empty."""
        least = min(self.classes.values(), default=0)
        return max(self.classes.values()) / least if least else float("inf")

    @property
    def advice(self) -> list[str]:
        """What to do about it, a line each; empty if nothing."""
        lines = []
        if self.corrupt:
            lines.append(f"{len(self.corrupt)} pictures cannot be used: mend them, or train with --skip-corrupt.")
        if len(self.sizes) > 1 or any(len(set(size.split(" x "))) > 1 for size in self.sizes):
            lines.append("Pictures differ in size or are not square: pass --size to scale and crop them.")
        if self.imbalance >= RARE:
            lines.append(
                f"The largest class is {self.imbalance:.3g} times the smallest: accuracy will say little of it."
            )
        if "L" in self.modes and len(self.modes) > 1:
            lines.append("Grey and colour pictures are mixed: all become colour.")
        return lines


def inspect_pictures(source: Path) -> Findings:
    """Decodes every picture of a source that `load_dataset` reads, and reports instead of stopping.

    Raises:
        DataError: if the source is no such thing.
    """
    findings = Findings()
    sizes: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    pictures = pictures_of(source)
    with ThreadPoolExecutor() as pool:
        while chunk := list(islice(pictures, _CHUNK)):
            looks = pool.map(_look, [picture for _, picture in chunk])
            for (name, picture), (wrong, size, mode) in zip(chunk, looks, strict=True):
                findings.classes.setdefault(name, 0)
                if mode:
                    modes[mode] += 1
                if wrong:
                    findings.corrupt[picture.name] = wrong
                    continue
                findings.classes[name] += 1
                sizes[size] += 1
    findings.sizes.update(sizes.most_common())
    findings.modes.update(modes.most_common())
    return findings


def pictures_of(source: Path) -> Iterator[tuple[str, Encoded]]:
    """Class and content of every picture, read as needed.

    Raises:
        DataError: if the source does not exist or is laid out in another way.
    """
    if not source.exists():
        raise DataError(f"data source {str(source)!r} does not exist: give a folder, a .csv, or a .npz file.")
    if source.is_dir() and parquet_files(source):
        yield from parquet_pictures(source)
    elif source.suffix.lower() == ".npz":
        yield from _npz_pictures(source)
    else:
        for listing in class_listings(source) if source.is_dir() else listings(source):
            for name, files in listing.items():
                yield from ((name, Encoded(str(path), path)) for path in files)


def _npz_pictures(path: Path) -> Iterator[tuple[str, Encoded]]:
    from PIL import Image

    data = load_npz(path)
    for part, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        for i, (image, label) in enumerate(zip(np.asarray(images), labels, strict=True)):
            stream = io.BytesIO()
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, "PPM")
            yield data.class_names[label], Encoded(f"{path}, {part} picture {i}", stream.getvalue())


def contact_sheet(source: Path, out: Path, *, columns: int = 10, cell: int = 64, rows: int = 30) -> None:
    """A picture with the first readable `columns` pictures of each class, a row a class, at most `rows`.

    Args:
        source: As for `inspect_pictures`.
        out: The file; its ending decides the format.
        columns: Pictures of each class.
        cell: Their height and width in pixels.
        rows: Classes shown.
    """
    from PIL import Image, ImageDraw, ImageOps

    chosen: dict[str, list[Encoded]] = {}
    for name, picture in pictures_of(source):
        row = chosen.setdefault(name, [])
        if len(row) < columns and problem(picture) is None:
            row.append(picture)
    shown = list(chosen.items())[:rows]
    sheet = Image.new("RGB", (columns * cell, max(1, len(shown)) * (cell + _CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for row_index, (name, pictures) in enumerate(shown):
        y = row_index * (cell + _CAPTION)
        draw.text((2, y + 1), name, fill="black")
        for x, picture in enumerate(pictures):
            with Image.open(_opened(picture)) as image:
                sheet.paste(ImageOps.fit(image.convert("RGB"), (cell, cell)), (x * cell, y + _CAPTION))
    sheet.save(out)


def _opened(picture: Encoded) -> Path | io.BytesIO:
    return io.BytesIO(picture.content) if isinstance(picture.content, bytes) else picture.content


def _look(picture: Encoded) -> tuple[str | None, str, str]:
    from PIL import Image

    wrong = problem(picture)
    try:
        with Image.open(_opened(picture)) as image:
            return wrong, f"{image.width} x {image.height}", image.mode
    except Exception as error:  # as in decoding: hostile bytes raise anything
        return wrong or str(error), "", ""
