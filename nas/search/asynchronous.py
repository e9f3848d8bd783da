"""The search loop that never waits for the slowest of a generation, and is deterministic all the same."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nas.search.base import Searcher
from nas.search.engine import Progress, SearchResult
from nas.search.log import EvaluationLog
from search_spaces import Space


class Evaluator(Protocol):
    """Evaluates what is submitted, in any order and as much at once as it can."""

    def submit(self, x: np.ndarray) -> int:
        """Takes a genotype `[genes]`; returns a ticket."""

    def result(self, ticket: int) -> Sequence[float]:
        """The objective values of a ticket, as soon as they are there."""


def search_asynchronously(
    space: Space,
    evaluator: Evaluator,
    *,
    searcher: Searcher,
    evaluations: int,
    window: int = 16,
    objectives: Sequence[str] = ("error", "latency_ms"),
    log: Path | None = None,
    options: dict[str, Any] | None = None,
    on_progress: Progress | None = None,
) -> SearchResult:
    """Runs a searcher with up to `window` evaluations in flight.

    Proposal k is made when the results 0 .. k - window have been told, no more and no fewer, whatever
    finished first: so the result depends on the window and the seed, not on the number of workers
    or their speed. With a window of a few times the workers, none of them waits for the slowest. The
    log is written in the order of the proposals; a killed search resumes as `nas.search.search` does.

    Args:
        space: Where to search.
        evaluator: Evaluates.
        searcher: Proposes.
        evaluations: Evaluations in all; fewer if the space has fewer.
        window: In flight at most.
        objectives: Names of the columns, for the log.
        log: File of the log, JSON lines.
        options: What must be unchanged for a resumed search; kept in the first line of the log.
        on_progress: Called after every evaluation.

    Raises:
        RunError: if the log is of a search with other options, or is damaged.
        InfeasibleError: if nothing meets the limits.
    """
    record = EvaluationLog(space, objectives, log, options or {})
    flight: deque[tuple[np.ndarray, int | tuple[float, ...]]] = deque()  # a ticket, or values out of the log
    asked = told = 0
    while True:
        while asked < evaluations and len(flight) < window:
            X = searcher.ask(1)
            if len(X) == 0:
                evaluations = asked
                break
            asked += 1
            old = record.replay(X)
            flight.append((X[0], old[0] if old else evaluator.submit(X[0])))
        if not flight:
            return SearchResult(searcher.X, searcher.Y)
        x, outcome = flight.popleft()
        if isinstance(outcome, int):
            values = tuple(map(float, evaluator.result(outcome)))
            record.append(x, values)
        else:
            values = outcome
        searcher.tell(x[None], np.array([values]))
        told += 1
        if on_progress:
            on_progress(told, evaluations)
