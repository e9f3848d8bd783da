"""Looking a data set over before training: what cannot be read, of what sizes and kinds the rest is, who is rare."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from supernets.data.csv_file import listings
from supernets.data.errors import DataError
from supernets.data.folder import class_listings
from supernets.data.images import Encoded, problem

RARE = 10.0  # a class this many times smaller than the largest is worth a word
_CAPTION = 14  # px above a row of the contact sheet


@dataclass(frozen=True)
class Findings:
    """What is in a folder or a `.csv` of pictures.

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
    """Decodes every picture of a folder of class folders, or of a `.csv`, and reports instead of stopping.

    Raises:
        DataError: if the source is no such thing.
    """
    findings = Findings()
    sizes: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    pictures = list(files_of(source))
    with ThreadPoolExecutor() as pool:
        looks = pool.map(_look, [path for _, path in pictures])
        for (name, path), (wrong, size, mode) in zip(pictures, looks, strict=True):
            findings.classes.setdefault(name, 0)
            if mode:
                modes[mode] += 1
            if wrong:
                findings.corrupt[str(path)] = wrong
                continue
            findings.classes[name] += 1
            sizes[size] += 1
    findings.sizes.update(sizes.most_common())
    findings.modes.update(modes.most_common())
    return findings


def files_of(source: Path) -> Iterator[tuple[str, Path]]:
    """Class and file of every picture.

    Raises:
        DataError: if the source does not exist or is laid out in another way.
    """
    if not source.exists():
        raise DataError(f"data source {str(source)!r} does not exist: give a folder of class folders, or a .csv.")
    for listing in class_listings(source) if source.is_dir() else listings(source):
        for name, files in listing.items():
            yield from ((name, path) for path in files)


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

    chosen: dict[str, list[Path]] = {}
    for name, path in files_of(source):
        row = chosen.setdefault(name, [])
        if len(row) < columns and problem(Encoded(str(path), path)) is None:
            row.append(path)
    shown = list(chosen.items())[:rows]
    sheet = Image.new("RGB", (columns * cell, max(1, len(shown)) * (cell + _CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for row_index, (name, paths) in enumerate(shown):
        y = row_index * (cell + _CAPTION)
        draw.text((2, y + 1), name, fill="black")
        for x, path in enumerate(paths):
            with Image.open(path) as image:
                sheet.paste(ImageOps.fit(image.convert("RGB"), (cell, cell)), (x * cell, y + _CAPTION))
    sheet.save(out)


def _look(path: Path) -> tuple[str | None, str, str]:
    from PIL import Image

    wrong = problem(Encoded(str(path), path))
    try:
        with Image.open(path) as image:
            return wrong, f"{image.width} x {image.height}", image.mode
    except Exception as error:  # as in decoding: hostile bytes raise anything
        return wrong or str(error), "", ""
