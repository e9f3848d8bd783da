"""A loss that is no number, or has collapsed to that of guessing: when to go back."""

import math
from dataclasses import dataclass, replace

from supernets.errors import TrainingError

PATIENCE = 20  # steps of guessing before it counts as a collapse
HALVINGS = 5
_LEARNT = 0.7  # of the loss of guessing: below this, a network has learnt something
_GUESSING = 0.98


@dataclass(frozen=True, slots=True)
class Guard:
    """What the guard has seen; kept in checkpoints, so that a resumed training goes on alike.

    Attributes:
        best: Smallest smoothed loss.
        smooth: The smoothed loss, None before the first step.
        guessing: Steps in a row with the loss of guessing.
        halvings: How often the learning rate was halved.
    """

    best: float = math.inf
    smooth: float | None = None
    guessing: int = 0
    halvings: int = 0

    @property
    def rate(self) -> float:
        """Factor of the learning rate."""
        return 0.5**self.halvings

    def seen(self, loss: float, classes: int) -> "Guard":
        """After a step with this loss, a number."""
        smooth = loss if self.smooth is None else 0.95 * self.smooth + 0.05 * loss
        guess = math.log(classes)
        learnt = self.best < _LEARNT * guess
        guessing = self.guessing + 1 if learnt and loss >= _GUESSING * guess else 0
        return replace(self, best=min(self.best, smooth), smooth=smooth, guessing=guessing)

    @property
    def collapsed(self) -> bool:
        """Whether the network that had learnt something has only guessed for a while."""
        return self.guessing >= PATIENCE

    def halved(self, reason: str, rate: float) -> "Guard":
        """After going back.

        Raises:
            TrainingError: if that has been tried often enough.
        """
        if self.halvings == HALVINGS:
            raise TrainingError(f"{reason} even at {self.rate:g} of the rate; train with a smaller --lr than {rate:g}.")
        return Guard(halvings=self.halvings + 1)
