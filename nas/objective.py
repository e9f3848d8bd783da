"""What a search minimises: error from the supernet, latency from the table."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

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
