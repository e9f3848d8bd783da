"""Evaluating subnets on Ray: a local one by default, a cluster by address."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from nas.errors import UserError

Evaluate = Callable[[np.ndarray], float]


class Accuracies(Protocol):
    """Accuracies in percent, a batch in order or one by one."""

    def __call__(self, X: np.ndarray) -> Iterator[float]:
        """Accuracies of genotypes `[n, genes]`, in order."""

    def submit(self, x: np.ndarray) -> int:
        """Takes a genotype `[genes]`; returns a ticket."""

    def result(self, ticket: int) -> float:
        """Accuracy of a ticket, as soon as it is there."""


RETRIES = 3  # of an evaluation whose worker or node died; it is deterministic, so the result is the same
_OBJECT_STORE_BYTES = 256 << 20


@contextmanager
def evaluators(evaluate: Evaluate, *, workers: int, address: str | None) -> Iterator[Accuracies]:
    """Accuracies of batches, computed by `workers` Ray actors (or in this process if `workers` is 0).

    The evaluator with its weights and images is put into the object store once, and every worker
    reads it from there.

    Args:
        evaluate: From a genotype `[genes]` to its accuracy in percent.
        workers: Number of actors, each on one CPU.
        address: Of a Ray cluster; None for `RAY_ADDRESS`, or a local one that ends with the search.
    """
    if workers == 0:
        yield _Inline(evaluate)
        return
    ray = start_ray(workers, address)
    try:
        yield _Pool(ray, evaluate, workers)
    finally:
        ray.shutdown()


def start_ray(workers: int, address: str | None) -> Any:
    """Connects to a cluster, or starts a local one of `workers` CPUs that ends with this process; returns Ray.

    Raises:
        UserError: if the cluster cannot be reached.
    """
    import logging
    import os
    import warnings

    # Ray starts its processes with fork and exec at once, which JAX's threads do not mind
    warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)

    address = address or os.environ.get("RAY_ADDRESS")
    if address and _has_token():
        # a cluster of `ray start` asks for the user's token where there is one; Ray reads this when imported
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    try:
        if address:
            with _errors_of_libraries_dropped():
                ray.init(address=address, **options)
        else:
            # "local": without it Ray joins whatever cluster was last started on this machine
            ray.init(address="local", num_cpus=workers, object_store_memory=_OBJECT_STORE_BYTES, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"Ray at {address or 'this machine'} cannot be reached "
            f"({str(error).splitlines()[0]}); check --ray-address, or use --workers 0."
        ) from error
    return ray


@contextmanager
def _errors_of_libraries_dropped() -> Iterator[None]:
    """Drops what native code writes to standard error: Ray repeats there, try by try, what its exception says once."""
    import os

    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _has_token() -> bool:
    import os
    from pathlib import Path

    named = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return named or (Path.home() / ".ray" / "auth_token").exists()


class _Inline:
    """Evaluates in this process, when a result is asked for."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._submitted: dict[int, np.ndarray] = {}
        self._tickets = 0

    def __call__(self, X: np.ndarray) -> Iterator[float]:
        return (self._evaluate(x) for x in X)

    def submit(self, x: np.ndarray) -> int:
        self._tickets += 1
        self._submitted[self._tickets] = x
        return self._tickets

    def result(self, ticket: int) -> float:
        return self._evaluate(self._submitted.pop(ticket))


class _Pool:
    """Keeps every worker busy and hands results back in the order asked."""

    def __init__(self, ray: Any, evaluate: Evaluate, workers: int) -> None:
        class Worker:
            _evaluate: Evaluate | None = None

            def accuracy(self, shared: list[Any], x: np.ndarray) -> float:
                # fetched at the first call rather than in the constructor, so that a restarted worker has it too
                self._evaluate = self._evaluate or ray.get(shared[0])
                return self._evaluate(x)

        self._ray = ray
        remote = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=RETRIES)(Worker)
        # wrapped in a list, the reference travels instead of the value
        self._shared = [ray.put(evaluate)]
        self._workers = [remote.remote() for _ in range(workers)]

        self._idle = list(self._workers)
        self._waiting: deque[tuple[int, np.ndarray]] = deque()
        self._running: dict[Any, tuple[int, Any]] = {}
        self._results: dict[int, float] = {}
        self._tickets = 0

    def __call__(self, X: np.ndarray) -> Iterator[float]:
        for ticket in [self.submit(x) for x in X]:
            yield self.result(ticket)

    def submit(self, x: np.ndarray) -> int:
        """Takes a genotype `[genes]`; the first idle worker evaluates it."""
        self._tickets += 1
        self._waiting.append((self._tickets, x))
        self._dispatch()
        return self._tickets

    def result(self, ticket: int) -> float:
        """Accuracy of a ticket; waits for it, and keeps every worker busy meanwhile."""
        while ticket not in self._results:
            ready, _ = self._ray.wait(list(self._running), num_returns=1)
            number, worker = self._running.pop(ready[0])
            self._results[number] = self._ray.get(ready[0])
            self._idle.append(worker)
            self._dispatch()
        return self._results.pop(ticket)

    def _dispatch(self) -> None:
        while self._idle and self._waiting:
            ticket, x = self._waiting.popleft()
            worker = self._idle.pop()
            self._running[worker.accuracy.remote(self._shared, x)] = (ticket, worker)
