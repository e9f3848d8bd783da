"""Pictures in files, decoded as they are needed: what an array of images is to data that fit into memory."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from supernets.data.errors import DataError
from supernets.data.images import Encoded, centred, random_crop, workers

CHANNELS = 3  # grey pictures fill all of them
_ROWS_KEPT, _GROUPS_KEPT = 8192, 24  # of Parquet files, whichever is more: a window of every lane, see `order`


class Source(Protocol):
    """Encoded pictures by row, and what lies together: rows of one block are read together."""

    blocks: np.ndarray
    names: tuple[str, ...]

    def __getitem__(self, row: int) -> Encoded:
        """A picture's bytes, or the file that holds them."""


class Files:
    """A picture a file; each is a block of its own."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.names = tuple(map(str, paths))
        self.blocks = np.arange(len(paths), dtype=np.int64)

    def __getitem__(self, row: int) -> Encoded:
        """See `Source`."""
        return Encoded(self.names[row], Path(self.names[row]))


class Rows:
    """Rows of Parquet files; a group of rows, as it was written, is a block, and the last few read are kept.

    Args:
        files: In order.
        column: That holds the pictures.
        groups: Rows of every group of every file.
    """

    def __init__(self, files: Sequence[Path], column: str, groups: Sequence[Sequence[int]]) -> None:
        self.names, self._column = tuple(map(str, files)), column
        counts = [count for file in groups for count in file]
        self._where = [(f, g) for f, file in enumerate(groups) for g in range(len(file))]
        self._first = np.cumsum([0, *counts])
        self.blocks = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, row: int) -> Encoded:
        """See `Source`."""
        block = int(self.blocks[row])
        place = row - int(self._first[block])
        name = f"{self.names[self._where[block][0]]}, row {place} of group {self._where[block][1]}"
        column = self._group(block)
        value = column[place].as_py() if place < len(column) else None
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise DataError(f"{name}: column `{self._column}` holds no image bytes: embed the images in the file.")
        return Encoded(name, content)

    def _group(self, block: int) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self._lock:  # threads that want the same group wait for the one that reads it
            if block not in self._kept:
                file, group = self._where[block]
                try:
                    with pq.ParquetFile(self.names[file]) as opened:
                        table = opened.read_row_group(group, columns=[self._column], use_threads=False)
                except (OSError, ValueError, pa.ArrowException) as error:
                    raise DataError(
                        f"{self.names[file]} is damaged ({str(error).splitlines()[0]}): write or download it again."
                    ) from error
                self._kept[block] = table.column(0)
                while len(self._kept) > _GROUPS_KEPT and sum(map(len, self._kept.values())) > _ROWS_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(block)
            return self._kept[block]

    def __getstate__(self) -> dict[str, Any]:
        """Without what was read: for another process."""
        return self.__dict__ | {"_kept": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"_kept": OrderedDict(), "_lock": threading.Lock()})


class Pictures:
    """Some rows of a source, all brought to one size.

    Args:
        source: Of the pictures.
        size: Height and width in pixels.
        rows: Which of the source's; all by default.
    """

    def __init__(self, source: Source, size: int, rows: np.ndarray | None = None) -> None:
        self._source, self.size = source, size
        self._rows = np.arange(len(source.blocks)) if rows is None else rows

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As an array of them would have: `[n, size, size, 3]`."""
        return (len(self._rows), self.size, self.size, CHANNELS)

    @property
    def blocks(self) -> np.ndarray:
        """The block that each picture lies in, `[n]`."""
        return self._source.blocks[self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        """uint8 `[m, size, size, 3]`, scaled by the shorter side and cropped in the centre; decoded in threads."""
        rows = self._rows[which]
        found = np.empty((len(rows), *self.shape[1:]), np.uint8)
        with ThreadPoolExecutor(workers()) as pool:
            for i, pixels in enumerate(pool.map(lambda row: centred(self._source[int(row)], self.size), rows)):
                found[i] = pixels  # a grey picture fills all three channels
        return found

    def crop(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """A random part of a picture, uint8 `[size, size, 3]`, see `random_crop`."""
        return random_crop(self._source[int(self._rows[index])], self.size, rng)

    def subset(self, which: np.ndarray) -> "Pictures":
        """Some of them, not decoded."""
        return Pictures(self._source, self.size, self._rows[which])

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of names and sizes of the files and of what is chosen of them; contents are not read."""
        digest = hashlib.sha256(f"nas-pictures-1 {self.shape}".encode())
        digest.update(self._rows.astype("<i8").tobytes())
        for name in self._source.names:
            path = Path(name)
            digest.update(f"{path.name}:{path.stat().st_size};".encode())
        return digest.digest()
