"""What a profile has measured so far: JSON lines beside the table, so that a killed run continues."""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

from search_spaces.whole_file import whole_file


class Journal:
    """Records by name, each on disk before `add` returns.

    A file that was started under another header (other device, space, seed, ...) is replaced:
    measurements of different conditions are never mixed. A line cut short by a kill, or whose checksum
    does not fit, is dropped: what it said is measured again.

    Args:
        path: The file.
        header: What the records hold for.
        resume: Whether to read records of an earlier run.
    """

    def __init__(self, path: Path, header: Mapping[str, object], *, resume: bool) -> None:
        self.path = path
        self._records: dict[str, dict] = {}
        lines = path.read_bytes().splitlines(keepends=True) if resume and path.exists() else []
        if lines and _parsed(lines[0]) == {"header": json.loads(json.dumps(header))}:
            self._records = dict(filter(None, map(_record, lines[1:])))
        # what was measured outlives a kill or a full disk; also cuts off a broken last line
        with whole_file(path) as beside, beside.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"header": header}) + "\n")
            file.writelines(_line(name, record) for name, record in self._records.items())

    def __contains__(self, name: object) -> bool:
        return name in self._records

    def __getitem__(self, name: str) -> dict:
        return self._records[name]

    def add(self, name: str, record: dict) -> None:
        """Appends a record."""
        self._records[name] = json.loads(json.dumps(record))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(name, record))
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Deletes the file, once its content is safe elsewhere."""
        self.path.unlink(missing_ok=True)


def _line(name: str, record: dict) -> str:
    return json.dumps({"name": name, "record": record, "crc32": _sum(name, record)}) + "\n"


def _record(line: bytes) -> tuple[str, dict] | None:
    """Name and record of a line; None if it is damaged."""
    row = _parsed(line)
    if not isinstance(row, dict) or row.get("crc32") != _sum(row.get("name"), row.get("record")):
        return None
    return row["name"], row["record"]


def _sum(name: object, record: object) -> int:
    return zlib.crc32(json.dumps([name, record]).encode())


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
