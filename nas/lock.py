"""One process at a time changes a run: an advisory lock that the system frees when its holder dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.errors import RunError

NAME = ".lock"


@contextmanager
def locked(folder: Path, what: str, part: str = "") -> Iterator[None]:
    """Holds a run folder, made if need be, for the time of the block.

    Args:
        folder: The run.
        what: What is being done; told to whoever else tries.
        part: What of the run is held, such as one device's search; all that is alike by default.

    Raises:
        RunError: if another process holds it; says which and what it does. Nothing is changed then.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such lock; the formats survive a second writer, the results may not
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{NAME}{part and '-'}{part}").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(200).strip() or "another process"
            raise RunError(
                f"Run {str(folder)!r} is in use by {holder}; wait until it is done, or stop it, then run again."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} ({what})")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
