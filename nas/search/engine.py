"""The search loop: ask, evaluate, log, tell. Killed at any moment, it continues where it stopped."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.search.base import Searcher
from nas.search.log import EvaluationLog
from search_spaces import Space

Evaluate = Callable[[np.ndarray], Iterable[Sequence[float]]]  # genotypes [n, genes] -> n rows of m values, in order
Progress = Callable[[int, int], None]  # evaluations done, evaluations in all


@dataclass(frozen=True)
class SearchResult:
    """Everything that was evaluated, in order.

    Attributes:
        X: Genotypes `[n, genes]`.
        Y: Objective values `[n, m]`, minimised.
    """

    X: np.ndarray
    Y: np.ndarray


def search(
    space: Space,
    evaluate: Evaluate,
    *,
    searcher: Searcher,
    evaluations: int,
    batch: int = 8,
    objectives: Sequence[str] = ("error", "latency_ms"),
    log: Path | None = None,
    options: dict[str, Any] | None = None,
    on_progress: Progress | None = None,
) -> SearchResult:
    """Runs a searcher for a number of evaluations.

    With a log, every finished evaluation is one line of an append-only file. A search that was
    killed replays its log through the searcher, which is deterministic, and goes on: the final
    log is byte for byte that of an undisturbed search.

    Args:
        space: Where to search.
        evaluate: Scores a batch; may yield rows as they become ready, in the order asked.
        searcher: Proposes.
        evaluations: Evaluations in all; fewer if the space has fewer.
        batch: Architectures asked for at once.
        objectives: Names of the columns, for the log.
        log: File of the log, JSON lines.
        options: What must be unchanged for a resumed search; kept in the first line of the log.
        on_progress: Called after every evaluation.

    Raises:
        RunError: if the log is of a search with other options, or is damaged.
        InfeasibleError: if nothing meets the limits.
    """
    record = EvaluationLog(space, objectives, log, options or {})
    done = 0
    while done < evaluations:
        X = searcher.ask(min(batch, evaluations - done))
        if len(X) == 0:
            break
        old = record.replay(X)
        rows = list(old)
        if len(rows) < len(X):
            for x, values in zip(X[len(old) :], evaluate(X[len(old) :]), strict=True):
                record.append(x, values)
                rows.append(tuple(values))
                if on_progress:
                    on_progress(done + len(rows), evaluations)
        searcher.tell(X, np.array(rows, dtype=np.float64))
        done += len(X)
        if on_progress:
            on_progress(done, evaluations)
    return SearchResult(searcher.X, searcher.Y)
