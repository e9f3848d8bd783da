"""What a search minimises: error from the supernet, latency from the table."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from nas.workers import Accuracies

OBJECTIVES = ("error", "latency_ms")


def evaluation(
    accuracies: Callable[[np.ndarray], Iterable[float]], latency: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], Iterator[tuple[float, float]]]:
    """Scores a batch as rows (error in percent, predicted latency in ms), yielded as they become ready.

    Args:
        accuracies: Accuracy in percent of every genotype of a batch, in order.
        latency: Predicted latency of a population.
    """

    def evaluate(X: np.ndarray) -> Iterator[tuple[float, float]]:
        for accuracy, ms in zip(accuracies(X), latency(X), strict=True):
            yield 100.0 - accuracy, float(ms)

    return evaluate


class Evaluations:
    """Rows (error in percent, predicted latency in ms) of single architectures, for an asynchronous search.

    Args:
        accuracies: Evaluates accuracies.
        latency: Predicted latency of a population.
    """

    def __init__(self, accuracies: Accuracies, latency: Callable[[np.ndarray], np.ndarray]) -> None:
        self._accuracies, self._latency = accuracies, latency
        self._submitted: dict[int, np.ndarray] = {}

    def submit(self, x: np.ndarray) -> int:
        """Takes a genotype `[genes]`; returns a ticket."""
        ticket = self._accuracies.submit(x)
        self._submitted[ticket] = x
        return ticket

    def result(self, ticket: int) -> tuple[float, float]:
        """The row of a ticket, as soon as it is there."""
        accuracy = self._accuracies.result(ticket)
        return 100.0 - accuracy, float(self._latency(self._submitted.pop(ticket)[None])[0])
