"""Costs of networks of mixed precision: a sum over operators, and what conversions between them add."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from latency_tables import LatencyTable
from search_spaces import AdditiveCost, Operator
from search_spaces.mixed import MixedSpace

OperatorCost = Callable[[Operator], float]


class MixedCost:
    """Sum over operators of what each costs in its precision, for whole populations at once.

    Args:
        space: Of the genotypes.
        in_float: Cost of an operator in float.
        on_integers: Cost of an operator on integers.
    """

    def __init__(self, space: MixedSpace, in_float: OperatorCost, on_integers: OperatorCost) -> None:
        self._space = space
        self._float = AdditiveCost(space.base, lambda op: [in_float(op)])
        self._change = per_operator(space, lambda op: on_integers(op) - in_float(op))

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Costs of genotypes `[n, genes]`, float64 `[n]`."""
        architectures = self._space.architectures(X)
        change = np.where(self._space.on_integers(X), self._change(architectures), 0.0)
        return self._float(architectures)[:, 0] + change.sum(axis=1)


def per_operator(space: MixedSpace, cost: OperatorCost) -> AdditiveCost:
    """A cost of every operator by itself: architectures `[n, genes]` to `[n, operators]`, 0 where one is absent."""
    column = {name: i for i, name in enumerate(space.operators)}

    def row(op: Operator) -> np.ndarray:
        values = np.zeros(len(column))
        if op.name in column:  # others are not live
            values[column[op.name]] = cost(op)
        return values

    return AdditiveCost(space.base, row, named=True)


@dataclass(frozen=True)
class Conversions:
    """What conversions between float and integers add to the sum over operators.

    Attributes:
        constant_ms: A network.
        each_ms: A conversion.
        million_ms: A million values converted.
        error_before: Mean relative error of the plain sum on the networks measured.
        error_after: That of the sum with conversions, each network left out of the fit in turn.
    """

    constant_ms: float = 0.0
    each_ms: float = 0.0
    million_ms: float = 0.0
    error_before: float = float("nan")
    error_after: float = float("nan")


class MixedLatency:
    """Latency by the tables of a device in fp32 and INT8, with the conversions between.

    Both tables cost an operator inside a network of one precision. Where neighbours differ, ONNX Runtime
    converts the values between them, and often their layout as well; what that takes is learned
    from networks measured whole. Neighbours are taken in the order of execution.

    Args:
        space: Of the genotypes.
        in_float: Table in fp32.
        on_integers: Table in INT8 (QDQ).

    Attributes:
        conversions_: What was learned.
    """

    def __init__(self, space: MixedSpace, in_float: LatencyTable, on_integers: LatencyTable) -> None:
        self._space, self._constants = space, (in_float.constant_ms, on_integers.constant_ms)
        self._sum = MixedCost(space, lambda op: in_float.costs(op)[0], lambda op: on_integers.costs(op)[0])
        self._values = per_operator(space, lambda op: float(np.prod(op.out_shape)))
        self.conversions_ = Conversions()

    def fit(self, X: np.ndarray, y: np.ndarray) -> "MixedLatency":
        """Learns the conversions from genotypes `[n, genes]` and their measured latencies `[n]`, ms."""
        self.conversions_ = learned_conversions(self.boundaries(X), self._plain(X), y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Latency of genotypes `[n, genes]`, ms, float64 `[n]`."""
        c = self.conversions_
        return self._plain(X) + self.boundaries(X) @ [c.constant_ms, c.each_ms, c.million_ms]

    def boundaries(self, X: np.ndarray) -> np.ndarray:
        """One if anything is mixed, conversions, and millions of values in them, `[n, 3]`."""
        integers, present = self._space.on_integers(X), self._space.present(X)
        values = self._values(self._space.architectures(X))
        n, operators = integers.shape
        # position of the latest operator that is there, up to and including each
        latest = np.maximum.accumulate(np.where(present, np.arange(operators), -1), axis=1)
        before = np.concatenate([np.full((n, 1), -1), latest[:, :-1]], axis=1)
        first = before < 0
        rows = np.arange(n)[:, None]
        changed = present & (integers != integers[rows, before]) & ~first
        return np.stack(
            [changed.any(axis=1), changed.sum(axis=1), np.where(changed, values[rows, before], 0).sum(axis=1) / 1e6],
            axis=1,
        ).astype(np.float64)

    def _plain(self, X: np.ndarray) -> np.ndarray:
        share = self._space.on_integers(X).sum(axis=1) / self._space.present(X).sum(axis=1)
        low, high = self._constants
        return self._sum(X) + low + share * (high - low)


def learned_conversions(counts: np.ndarray, plain: np.ndarray, y: np.ndarray) -> Conversions:
    """What conversions add to a sum over operators: non-negative least squares of relative errors.

    Args:
        counts: Of networks, `[n, 3]`: one if anything is mixed, conversions, and millions of values in them.
        plain: Their sums over operators, ms, `[n]`.
        y: Their measured latencies, ms, `[n]`.
    """
    left_out = []
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        left_out.append((plain[i] + counts[i] @ _added(counts[rest], plain[rest], y[rest])) / y[i] - 1)
    before, after = (float(np.mean(np.abs(errors))) for errors in (plain / y - 1, left_out))
    constant, each, million = map(float, _added(counts, plain, y))
    return Conversions(constant, each, million, before, after)


def _added(counts: np.ndarray, plain: np.ndarray, y: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls

    return nnls(counts / y[:, None], 1 - plain / y)[0]


def switching_sample(space: MixedSpace, rng: np.random.Generator, n: int) -> np.ndarray:
    """Genotypes to learn conversions from: mixed ones, with from few to many changes of precision."""
    found: Sequence[np.ndarray] = []
    while len(found) < n:
        X = space.sample(rng, 4 * n)
        integers = space.on_integers(X) & space.present(X)
        found = [*found, *X[integers.any(axis=1) & (integers != space.present(X)).any(axis=1)]]
    return np.array(found[:n])
