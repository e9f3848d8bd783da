"""What long measurements tell about themselves while they run."""

import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of a measurement.

    Attributes:
        stage: What is being done, e.g. "kernels".
        done: Units finished.
        total: Units in all.
        seconds_left: Estimate for what remains, of all stages.
    """

    stage: str
    done: int
    total: int
    seconds_left: float


ProgressCallback = Callable[[Progress], None]


class Clock:
    """Turns the shares of tasks that are done into progress with the time left, at the pace of this run.

    Args:
        sizes: Units of every task, named "STAGE ...".
        known: Names of the tasks that an earlier run finished.
        progress: The callback, if any.
    """

    def __init__(self, sizes: Mapping[str, int], known: Container[str], progress: ProgressCallback | None) -> None:
        self._sizes, self._progress = sizes, progress
        self._known = {name: size for name, size in sizes.items() if name in known}
        self._done = dict.fromkeys(sizes, 0.0) | self._known
        self._start = time.perf_counter()

    def __call__(self, task: str, share: float) -> None:
        """Says that this share of a task is done."""
        self._done[task] = max(self._done[task], share * self._sizes[task])
        fresh = sum(self._done.values()) - sum(self._known.values())
        left = sum(self._sizes.values()) - sum(self._done.values())
        if self._progress and fresh > 0:
            stage = task.partition(" ")[0]
            mine = [name for name in self._sizes if name.partition(" ")[0] == stage]
            seconds = (time.perf_counter() - self._start) * left / fresh
            done, total = (sum(values[name] for name in mine) for values in (self._done, self._sizes))
            self._progress(Progress(stage, int(done), int(total), seconds))
