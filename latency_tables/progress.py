"""What long measurements tell about themselves while they run."""

from collections.abc import Callable
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
