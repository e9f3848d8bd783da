"""Search spaces out of a user's file: a run keeps a copy, and runs it only where the user named that very file before.

A run folder may come from somebody else, and opening it must not run their code. So what runs is
known by its SHA-256: training by `file.py:function` records it in a list of the user's own, and
`nas spaces --trust` adds to it what one has read.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

from nas.errors import RunError
from nas.files import write_bytes
from search_spaces import Space, get_space
from search_spaces.user_code import load_function

SOURCE = "space.py"  # the copy in a run


def trust_file() -> Path:
    """The user's list of files that may run, one SHA-256 and path a line."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "nas-platform" / "trusted"


def trust(path: Path) -> str:
    """Adds a file's SHA-256 to the user's list; returns it."""
    digest, where = _digest(path), trust_file()
    if digest not in _trusted():
        where.parent.mkdir(parents=True, exist_ok=True)
        old = where.read_bytes() if where.is_file() else b""
        write_bytes(where, old + f"{digest}  {path.resolve()}\n".encode())
    return digest


def own_record(space: Space) -> dict[str, str]:
    """What a run's configuration says of a space of the user's own; nothing for a built-in one."""
    if not space.source:
        return {}
    path, _, function = space.source.rpartition(":")
    return {"file": SOURCE, "function": function, "sha256": _digest(Path(path))}


def keep_source(folder: Path, space: Space) -> None:
    """Copies the file of a space of the user's own, whom its name on the command line shows to trust it."""
    if space.source:
        own = load_function(space.source)
        trust(own.path)
        if own.path != (folder / SOURCE).resolve():
            write_bytes(folder / SOURCE, own.path.read_bytes())


def recorded_space(folder: Path, record: dict[str, Any]) -> Space:
    """The space that a run's configuration names.

    Raises:
        RunError: if the file was changed, or is not trusted; `SpaceError` if there is no such space.
    """
    if "file" not in record:
        return get_space(record["name"], **record["options"])
    path = folder / SOURCE
    if not path.is_file() or _digest(path) != record["sha256"]:
        raise RunError(f"{str(path)!r} is not the file that the run was made with; restore it.")
    if record["sha256"] not in _trusted():
        raise RunError(
            f"Run {str(folder)!r} has a search space of its own, and {str(path)!r} was never run here; "
            f"read it, then allow it with `nas spaces --trust {path}`."
        )
    return get_space(f"{path}:{record['function']}", **record["options"])


def _trusted() -> set[str]:
    where = trust_file()
    lines = where.read_text(encoding="utf-8", errors="replace").splitlines() if where.is_file() else []
    return {line.split()[0] for line in lines if line.strip()}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
