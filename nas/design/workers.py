"""Work of a design, item by item, here or in several processes that take turns at the host's GPUs."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from nas.processes import end_with_parent, shared_gpu

OnStep = Callable[[str], None]
Task = Callable[[tuple[Any, ...], OnStep], None]  # does an item, and tells something of every step
OnProgress = Callable[[int, int, str], None]  # steps and items done, and a note


def spread(task: Task, items: Sequence[tuple[Any, ...]], processes: int, on_progress: OnProgress) -> None:
    """Does every item; what comes of it does not depend on how many processes there are.

    Args:
        task: What does one. Each process has its own, which may keep what it has read.
        items: What there is to do.
        processes: How many; several share a GPU where there are fewer.
        on_progress: Called at every step, of several processes now and then.
    """
    if processes > 1 and len(items) > 1:
        _at_once(task, items, processes, on_progress)
        return
    steps = count(1)
    for done, item in enumerate(items):

        def told(text: str, done: int = done) -> None:
            on_progress(next(steps), done, f"{done} of {len(items)} done, {text}")

        task(item, told)


def _at_once(task: Task, items: Sequence[tuple[Any, ...]], processes: int, on_progress: OnProgress) -> None:
    context = multiprocessing.get_context("spawn")  # JAX's threads are not there after a fork
    begun, steps, stop = context.Value("i", 0), context.Value("i", 0), context.Event()
    with ProcessPoolExecutor(min(processes, len(items)), context, _begin, (task, begun, steps, stop)) as pool:
        waiting = {pool.submit(_do, item) for item in items}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                ready = len(items) - len(waiting)
                on_progress(steps.value, ready, f"{ready} of {len(items)} done")
        except BaseException:  # Ctrl-C too
            stop.set()  # the pool hands out more than it has processes for, which cannot be cancelled any more
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass(frozen=True)
class _Own:
    """Of a process of the pool: its task, where it counts steps, and whether it is to stop."""

    task: Task
    steps: Any
    stop: Any


_own: _Own | None = None


def _begin(task: Task, begun: Any, steps: Any, stop: Any) -> None:
    """Before JAX is there: the process's GPU."""
    global _own
    end_with_parent()
    with begun.get_lock():
        place = begun.value
        begun.value += 1
    os.environ.update(shared_gpu(place))
    _own = _Own(task, steps, stop)


def _do(item: tuple[Any, ...]) -> None:
    own = _own
    assert own is not None

    def stepped(text: str) -> None:
        del text
        with own.steps.get_lock():
            own.steps.value += 1
        if own.stop.is_set():
            raise KeyboardInterrupt

    if not own.stop.is_set():
        with suppress(KeyboardInterrupt):  # the parent says so
            own.task(item, stepped)
