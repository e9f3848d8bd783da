"""What a search minimises: error from the supernet, latency from the table, and other costs."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from nas.workers import Accuracies

OBJECTIVES = ("error", "latency_ms")
Values = Callable[[np.ndarray], np.ndarray]


def evaluation(
    accuracies: Callable[[np.ndarray], Iterable[float]], latency: Values, costs: Sequence[Values] = ()
) -> Callable[[np.ndarray], Iterator[tuple[float, ...]]]:
    """Scores a batch as rows (error in percent, predicted latency in ms, costs ...), yielded as they become ready.

    Args:
        accuracies: Accuracy in percent of every genotype of a batch, in order.
        latency: Predicted latency of a population.
        costs: Further costs of a population.
    """

    def evaluate(X: np.ndarray) -> Iterator[tuple[float, ...]]:
        for accuracy, *row in zip(accuracies(X), latency(X), *(cost(X) for cost in costs), strict=True):
            yield 100.0 - accuracy, *map(float, row)

    return evaluate


class Evaluations:
    """Rows (error in percent, predicted latency in ms, costs ...) of single architectures, for an asynchronous search.

    Args:
        accuracies: Evaluates accuracies.
        latency: Predicted latency of a population.
        costs: Further costs of a population.
    """

    def __init__(self, accuracies: Accuracies, latency: Values, costs: Sequence[Values] = ()) -> None:
        self._accuracies, self._costs = accuracies, (latency, *costs)
        self._submitted: dict[int, np.ndarray] = {}

    def submit(self, x: np.ndarray) -> int:
        """Takes a genotype `[genes]`; returns a ticket."""
        ticket = self._accuracies.submit(x)
        self._submitted[ticket] = x
        return ticket

    def result(self, ticket: int) -> tuple[float, ...]:
        """The row of a ticket, as soon as it is there."""
        accuracy = self._accuracies.result(ticket)
        row = self._submitted.pop(ticket)[None]
        return 100.0 - accuracy, *(float(cost(row)[0]) for cost in self._costs)
