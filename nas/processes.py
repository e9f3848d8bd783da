"""A command in several processes of this host, an accelerator each, joined as hosts are.

One process hands programs to one device after another and waits until each has begun: with small programs the devices
wait for it (docs/pages/guides/several-gpus.md).
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from nas.console import say
from nas.errors import UserError

_NVIDIA = Path("/proc/driver/nvidia/gpus")
_SIGNAL_AT_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG, linux/prctl.h


def run_joined(commands: Sequence[Sequence[str]]) -> int:
    """Runs command lines at once, each in a process that sees an accelerator of its own, and waits for all.

    Ctrl-C is handed on, so that they end as they would alone; when one fails, the others are stopped.

    Args:
        commands: The programs and their arguments. What the first writes is this process's output; what another
            writes to stderr is shown if it is the first to fail.

    Returns:
        The exit status of the first that failed, or 0.

    Raises:
        UserError: if there are fewer GPUs, on a host that has some.
    """
    visible = _visible(len(commands))
    children: list[subprocess.Popen[bytes]] = []
    told: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        told.append(number)
        for child in children:
            child.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ExitStack() as stack:
            words = [stack.enter_context(tempfile.TemporaryFile()) for _ in commands[1:]]
            for i, command in enumerate(commands):
                child = subprocess.Popen(
                    command,
                    env=os.environ | ({"CUDA_VISIBLE_DEVICES": visible[i]} if visible else {}),
                    stdout=subprocess.DEVNULL if i else None,
                    stderr=words[i - 1] if i else None,
                    start_new_session=True,  # a terminal's Ctrl-C would reach them twice
                    preexec_fn=end_with_parent,  # noqa: PLW1509 - no threads are here yet
                )
                children.append(child)
            failed = first_failed(children, told)
            if failed:
                words[failed - 1].seek(0)
                say(words[failed - 1].read().decode(errors="replace").rstrip())
            return 0 if failed is None else abs(children[failed].returncode)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def joined(command: Sequence[str], count: int) -> list[list[str]]:
    """A command line for each of several processes, with the `--hosts` that joins them."""
    address = f"127.0.0.1:{free_port()}"
    return [[*command, "--hosts", f"{address},{count},{i}"] for i in range(count)]


def free_port() -> int:
    """Of this host, that nothing listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def without_option(arguments: Sequence[str], option: str) -> list[str]:
    """Arguments of a command line but for an option and its value."""
    found, skip = [], False
    for argument in arguments:
        if not skip and argument != option and not argument.startswith(f"{option}="):
            found.append(argument)
        skip = argument == option
    return found


def first_failed(
    children: Sequence[subprocess.Popen[bytes]], told: Sequence[int] = (), *, stop: bool = True
) -> int | None:
    """Waits for all; which failed first, if any did.

    Args:
        children: The processes.
        told: Not empty once they were told to end: then they are not stopped.
        stop: Whether its companions, which may wait for it, are stopped.
    """
    waiting, failed = set(range(len(children))), None
    while waiting:
        for i in sorted(waiting):
            try:
                status = children[i].wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
            waiting.remove(i)
            if status and failed is None:
                failed = i
                for other in waiting if stop and not told else ():  # who was told to end is saving
                    children[other].terminate()
    return failed


def _visible(count: int) -> list[str]:
    """The NVIDIA GPU of each process; empty on a host without."""
    found = gpus()
    if found and len(found) < count:
        raise UserError(f"--processes (={count}) must not exceed the {len(found)} GPUs of this host.")
    return found


def gpus() -> list[str]:
    """Names of this host's NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = sorted(_NVIDIA.iterdir()) if _NVIDIA.is_dir() else []
    return [gpu for gpu in named.split(",") if gpu] if named is not None else [str(i) for i in range(len(there))]


def shared_gpu(place: int) -> dict[str, str]:
    """What the environment of the `place`-th of several processes has, which take turns at this host's GPUs."""
    names = gpus()
    visible = {"CUDA_VISIBLE_DEVICES": names[place % len(names)]} if names else {}
    return visible | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # others need its memory too


def end_with_parent() -> None:
    """A killed parent leaves nothing behind that holds the run; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SIGNAL_AT_PARENTS_DEATH, signal.SIGTERM)
