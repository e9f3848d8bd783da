"""One process at a time changes a run: an advisory lock that the system frees when its holder dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from nas.errors import RunError

NAME = ".lock"


@contextmanager
def locked(folder: Path, what: str, part: str = "") -> Iterator[None]:
    """Holds a run folder, made if need be, for the time of the block.

    Args:
        folder: The run.
        what: What is being done; told to whoever else tries.
        part: What of the run is held, such as one device's search; by default all of it, every part included.

    Raises:
        RunError: if another process holds it; says which and what it does. Nothing is changed then.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such lock; the formats survive a second writer, the results may not
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a+") as whole:
        _hold(whole, fcntl.LOCK_SH if part else fcntl.LOCK_EX, folder)
        with (folder / f"{NAME}-{part}").open("a+") if part else nullcontext(whole) as file:
            if part:
                _hold(file, fcntl.LOCK_EX, folder)
            file.truncate(0)
            file.write(f"process {os.getpid()} ({what})")
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)


def _hold(file: TextIO, kind: int, folder: Path) -> None:
    """Locks an open file, or says who holds it or a part of the run."""
    import fcntl

    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        texts = (file.read(200), *(path.read_text()[:200] for path in sorted(folder.glob(f"{NAME}-*"))))
        holder = next(filter(None, (text.strip() for text in texts)), "another process")
        raise RunError(
            f"Run {str(folder)!r} is in use by {holder}; wait until it is done, or stop it, then run again."
        ) from None
