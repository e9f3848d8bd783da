"""Entry point: runs the command line and turns a user's mistake into one line and exit code 2."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from nas.cli import app
from nas.console import say
from nas.files import explain
from nas.jax_setup import keep_programs


def _user_errors() -> tuple[type[BaseException], ...]:
    """Everything that is the user's to mend; imported only when something went wrong."""
    from latency_tables.errors import DeviceError, MissingKernelError, QuantisationError, TableError
    from nas.errors import UserError
    from search_spaces import ArchitectureError, SpaceError
    from supernets.errors import CheckpointError, DataError, TrainingError

    return (
        ArchitectureError,
        CheckpointError,
        DataError,
        DeviceError,
        MissingKernelError,
        QuantisationError,
        SpaceError,
        TableError,
        TrainingError,
        UserError,
    )


_INTERRUPTED = 130  # 128 + SIGINT, the shells' convention


def _usage(error: Any) -> str:
    """A wrong command line in one line: what typer says, the value it leaves out, and where help is."""
    from pydantic import ValidationError

    command = getattr(getattr(error, "ctx", None), "command_path", "nas")
    value = ""
    if isinstance(error.__cause__, ValidationError):
        value = f", not {error.__cause__.errors()[0]['input']!r}"
    text = " ".join(error.format_message().split()).rstrip(".") + value
    return f"{text}{'' if text.endswith('?') else '.'} See: {command} --help"


def _out_of_memory(error: BaseException) -> bool:
    """Whether Python, NumPy, JAX or ONNX Runtime was refused memory."""
    told = ("RESOURCE_EXHAUSTED", "bad_alloc", "Failed to allocate memory", "can't start new thread")
    return isinstance(error, MemoryError) or any(words in str(error) for words in told)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs `nas`. Exits 0 on success and 2, with one line on stderr, on bad input or an interruption."""
    from typer import Abort
    from typer.exceptions import TyperException

    # libraries below chat on stderr, where our progress is
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    keep_programs()
    try:
        # typer hands Ctrl-C (130) and typer.Exit back as a value here, and raises neither
        given = list(sys.argv[1:] if arguments is None else arguments)
        status = app(given, standalone_mode=False, prog_name="nas", obj=given)
        if status == _INTERRUPTED:
            raise KeyboardInterrupt
        if status:  # of the processes that a command ran as
            sys.exit(status)
    except TyperException as error:
        if error.format_message():  # empty where the help was shown instead
            say(f"error: {_usage(error)}")
        sys.exit(2)
    except (KeyboardInterrupt, Abort):
        say("\nInterrupted. Nothing is lost: run the same command again to continue.")
        sys.exit(2)
    except OSError as error:
        if error.errno is None:  # not the file system's: a library's own
            raise
        say(f"error: {explain(error)}")
        sys.exit(2)
    except Exception as error:
        if _out_of_memory(error):
            say(
                "error: Not enough memory; lower the batch size or --workers, or use a machine with more. "
                "What was finished is kept: run again to continue."
            )
            sys.exit(2)
        if not isinstance(error, _user_errors()):
            raise
        say(f"error: {' '.join(str(error).split())}")
        sys.exit(2)
    sys.exit(0)


if __name__ == "__main__":
    main()
