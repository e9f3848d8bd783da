"""Evaluating subnets on Ray: a local one by default, a cluster by address."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nas.errors import UserError

Accuracies = Callable[[np.ndarray], Iterable[float]]  # genotypes [n, genes] -> percent, in order
Evaluate = Callable[[np.ndarray], float]
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
        yield lambda X: (evaluate(x) for x in X)
        return
    import ray

    start_ray(ray, workers, address)
    try:
        yield _Pool(ray, evaluate, workers)
    finally:
        ray.shutdown()


def start_ray(ray: Any, workers: int, address: str | None) -> None:
    """Connects to a cluster, or starts a local one of `workers` CPUs that ends with this process.

    Raises:
        UserError: if the cluster cannot be reached.
    """
    import logging
    import os
    import warnings

    # Ray starts its processes with fork and exec at once, which JAX's threads do not mind
    warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    try:
        if address or os.environ.get("RAY_ADDRESS"):
            ray.init(address=address or "auto", **options)
        else:
            ray.init(num_cpus=workers, object_store_memory=_OBJECT_STORE_BYTES, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"Ray at {address or os.environ.get('RAY_ADDRESS') or 'this machine'} cannot be reached "
            f"({str(error).splitlines()[0]}); check --ray-address, or use --workers 0."
        ) from error


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

    def __call__(self, X: np.ndarray) -> Iterator[float]:
        idle, running, results = list(self._workers), {}, {}
        asked = given = 0
        while given < len(X):
            while idle and asked < len(X):
                worker = idle.pop()
                running[worker.accuracy.remote(self._shared, X[asked])] = (asked, worker)
                asked += 1
            ready, _ = self._ray.wait(list(running), num_returns=1)
            number, worker = running.pop(ready[0])
            results[number] = self._ray.get(ready[0])
            idle.append(worker)
            while given in results:
                yield results.pop(given)
                given += 1
