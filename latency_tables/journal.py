"""What a profile has measured so far: JSON lines beside the table, so that a killed run continues."""

import json
import os
from collections.abc import Mapping
from pathlib import Path


class Journal:
    """Records by name, each on disk before `add` returns.

    A file that was started under another header (other device, space, seed, ...) is replaced:
    measurements of different conditions are never mixed. A last line cut short by a kill is dropped.

    Args:
        path: The file.
        header: What the records hold for.
        resume: Whether to read records of an earlier run.
    """

    def __init__(self, path: Path, header: Mapping[str, object], *, resume: bool) -> None:
        self.path = path
        self._records: dict[str, dict] = {}
        lines = path.read_bytes().splitlines(keepends=True) if resume and path.exists() else []
        whole = [line for line in map(_parsed, lines) if line is not None]
        if whole and whole[0] == {"header": json.loads(json.dumps(header))}:
            self._records = {line["name"]: line["record"] for line in whole[1:]}
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:  # also cuts off a broken last line
            file.write(json.dumps({"header": header}) + "\n")
            for name, record in self._records.items():
                file.write(json.dumps({"name": name, "record": record}) + "\n")

    def __contains__(self, name: object) -> bool:
        return name in self._records

    def __getitem__(self, name: str) -> dict:
        return self._records[name]

    def add(self, name: str, record: dict) -> None:
        """Appends a record."""
        self._records[name] = json.loads(json.dumps(record))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": name, "record": record}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Deletes the file, once its content is safe elsewhere."""
        self.path.unlink(missing_ok=True)


def _parsed(line: bytes) -> dict | None:
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
