"""SHA-256 of the files of a folder, so that damage is known before a library stumbles over it."""

import hashlib
import json
from pathlib import Path

from search_spaces.whole_file import whole_file


def write_checksums(folder: Path, path: Path) -> None:
    """Writes the sums of all files in `folder` to `path`, which appears whole or not at all."""
    with whole_file(path) as beside:
        beside.write_text(json.dumps(_sums(folder), indent=1), encoding="utf-8")


def first_damaged(folder: Path, path: Path) -> str | None:
    """What does not fit the sums in `path`: a file of `folder` that is gone or differs, or the sums; None if all fit.

    Without a file of sums nothing is known, which is None too.
    """
    if not path.is_file():
        return None
    try:
        wanted = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError):
        return path.name
    found = _sums(folder)
    return next((name for name, digest in wanted.items() if found.get(name) != digest), None)


def _sums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
