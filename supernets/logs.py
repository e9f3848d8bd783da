"""Figures of a training as it goes: `metrics.csv`, and scalars that TensorBoard reads."""

import csv
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

_POLYNOMIAL = 0x82F63B78  # CRC-32C, reflected


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """CRC-32C, which zlib does not have."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


class EventFile:
    """TensorBoard's event file: TFRecords of `Event` messages, written here because TensorBoard itself is heavy.

    Args:
        folder: Gets a new file; earlier ones stay, TensorBoard joins them.
        step: Where this part begins: what earlier files say of later steps is told to be forgotten.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = (folder / f"events.out.tfevents.{time.time_ns()}.nas").open("ab")
        self._write(_bytes(3, b"brain.Event:2"))
        if step:  # SessionLog.START
            self._write(_varint(2 << 3) + _varint(step) + _bytes(7, _varint(1 << 3) + _varint(1)))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds figures of a step."""
        summary = b""
        for tag, value in values.items():
            summary += _bytes(1, _bytes(1, tag.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", value))
        self._write(_varint(2 << 3) + _varint(step) + _bytes(5, summary))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, event: bytes) -> None:
        event = _varint(1 << 3 | 1) + struct.pack("<d", time.time()) + event
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked(length) + event + _masked(event))
        self._file.flush()


def record(path: Path, row: Mapping[str, object]) -> None:
    """Adds a row to a CSV file; the first one writes the names."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(row)
        writer.writerow(row.values())


def forget_after(path: Path, step: int) -> None:
    """Takes out of a CSV file the rows of steps after this one: they come again when a training is resumed."""
    if not path.exists():
        return
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if row.get("step") and int(row["step"]) <= step]
    if len(kept) < len(rows):
        beside = path.with_name(f".{path.name}.tmp")
        beside.unlink(missing_ok=True)
        for row in kept:
            record(beside, row)
        beside.replace(path) if kept else path.unlink()
