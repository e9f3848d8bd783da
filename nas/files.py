"""Writing files so that an interruption leaves the old one whole."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

from nas.errors import UserError
from search_spaces.whole_file import whole_file

NEEDED_BYTES = 64 << 20  # what a run writes before anything large, with room to spare
_FULL = {errno.ENOSPC, errno.EDQUOT}


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file that appears whole or not at all."""
    with whole_file(path) as beside:
        beside.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON document atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def writable_folder(folder: Path) -> Path:
    """The folder, made if need be, after checking that it can be written and is not full.

    Raises:
        UserError: if not; said before hours of work rather than after.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.write_bytes(b"\0")
        probe.unlink()
    except OSError as error:
        raise UserError(explain(error, folder)) from error
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise UserError(
            f"Folder {str(folder)!r} has {free >> 20} MiB free, a run needs {NEEDED_BYTES >> 20} MiB; "
            "make room or choose another folder."
        )
    return folder


def explain(error: OSError, path: str | Path | None = None) -> str:
    """One line for a failed file operation."""
    where = str(path or error.filename or "the file")
    if error.errno in _FULL:
        return f"No space left to write {where!r}; make room or choose another folder, then run again to continue."
    return f"Cannot use {where!r}: {error.strerror or error}; choose another path or change its permissions."
