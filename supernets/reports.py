"""What a training tells after every step."""

from collections.abc import Callable
from typing import NamedTuple

OnStep = Callable[["StepReport"], None]


class StepReport(NamedTuple):
    """A step as progress shows it: loss and training accuracy (percent) of its first network, smoothed.

    `note` says what a person should know, such as that the training went back; `last` is the step's own loss.
    """

    step: int
    steps: int
    loss: float
    accuracy: float
    note: str = ""
    last: float = float("nan")
