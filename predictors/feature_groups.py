"""Groups of features of architectures that a kernel measures distances in, for any space."""

from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from predictors.graph import operator_features, path_features
from search_spaces import AdditiveCost, Space

ENUMERABLE = 1 << 15  # networks; a space up to this size is built and scored whole


def enumerate_space(space: Space) -> np.ndarray:
    """Every canonical genotype, int array `[space.size, genes]`."""
    rows = np.zeros((1, len(space.genes)), dtype=np.int64)
    for i, gene in enumerate(space.genes):
        counts = np.where(space.active(rows)[:, i], len(gene.choices), 1)
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        rows = np.repeat(rows, counts, axis=0)
        rows[:, i] = np.arange(len(rows)) - starts
    return rows


class Features:
    """Genotypes as groups of features, each scaled to a mean squared distance of 1.

    The genes are grouped by the last part of their name (kernel, expand, ...): what they decide.
    MACs and parameters follow, and in a space that is small enough to build whole, the paths of the network.

    Args:
        space: Of the genotypes.
        zero_cost: Adds a group of zero-cost scores, see `zero_cost_columns`; small spaces only.

    Raises:
        ValueError: if zero-cost scores are asked for in a space of more than `ENUMERABLE` networks.
    """

    def __init__(self, space: Space, *, zero_cost: bool = False) -> None:
        if zero_cost and space.size > ENUMERABLE:
            raise ValueError(f"{space.name} (size={space.size:.3g}) must have at most {ENUMERABLE} networks to score.")
        self.space = space
        kinds: dict[str, list[int]] = {}
        offsets = np.concatenate([[0], np.cumsum(space.cardinality)])
        for i, gene in enumerate(space.genes):
            kinds.setdefault(gene.name.rpartition(".")[2], []).extend(range(offsets[i], offsets[i + 1]))
        self._kinds = list(kinds.values())
        self._index: dict[bytes, int] = {}
        if space.size <= ENUMERABLE:
            rows = enumerate_space(space)
            self._index = {row.tobytes(): i for i, row in enumerate(rows)}
            self._operators = _whole(space).operators
            self._whole = _whole(space).groups + ([zero_cost_columns(space)] if zero_cost else [])
            self._costs = None
        else:
            self._costs = AdditiveCost(space, lambda op: [op.macs, op.params]) if space.blockwise else None
        sample = space.sample(np.random.default_rng(0), 1000)
        self._scales = [(f.mean(axis=0), np.sqrt(2 * f.var(axis=0).sum()) or 1.0) for f in self._raw(sample)]

    def __call__(self, X: np.ndarray) -> list[np.ndarray]:
        """Groups `[n, d]` of genotypes `X` `[n, genes]`."""
        return [(f - mean) / scale for f, (mean, scale) in zip(self._raw(X), self._scales, strict=True)]

    def operators(self, X: np.ndarray) -> list[np.ndarray]:
        """How often each operator occurs, `[n, operators]`: as genotypes `X` name it, and as a runtime keeps it.

        Nothing in a space that is too large to build whole.
        """
        if not self._index:
            return []
        rows = self._rows(X)
        return [counts[rows] for counts in self._operators]

    def _rows(self, X: np.ndarray) -> list[int]:
        return [self._index[x.tobytes()] for x in np.ascontiguousarray(X, dtype=np.int64)]

    def _raw(self, X: np.ndarray) -> list[np.ndarray]:
        hot = self.space.one_hot(X).astype(np.float64)
        groups = [hot[:, columns] for columns in self._kinds]
        if self._index:
            rows = self._rows(X)
            groups = [np.concatenate(groups, axis=1), *(whole[rows] for whole in self._whole)]
        elif self._costs is not None:
            costs = np.log(1.0 + self._costs(X))
            groups += [costs[:, :1], costs[:, 1:]]
        return groups


_SCORES: WeakKeyDictionary[Space, np.ndarray] = WeakKeyDictionary()


def zero_cost_columns(
    space: Space, *, processes: int = 1, report: Callable[[int, int], None] = lambda done, total: None
) -> np.ndarray:
    """Zero-cost ranks of a whole space, `[space.size, 2]`, see `prior_scores`; kept as long as the space.

    Genotypes of equal MACs, parameters and paths are one network or nearly so, and scored once.
    """
    from predictors.zero_cost.prior import prior_scores

    if space not in _SCORES:
        rows = enumerate_space(space)
        _, first, same = np.unique(
            np.concatenate(_whole(space).groups, axis=1), axis=0, return_index=True, return_inverse=True
        )
        _SCORES[space] = prior_scores(space, rows[first], processes=processes, report=report)[same.ravel()]
    return _SCORES[space]


_FRONTS: WeakKeyDictionary[Space, np.ndarray] = WeakKeyDictionary()


def zero_cost_front(space: Space) -> np.ndarray:
    """Genotypes `[n, genes]` that no network of as few MACs beats in `zero_cost_columns`, the smallest first."""
    if space not in _FRONTS:
        rows = enumerate_space(space)
        readable = np.flatnonzero(space.reads_image(rows))
        macs = _whole(space).groups[0][readable, 0]
        rank = zero_cost_columns(space)[readable].mean(axis=1)
        order = np.lexsort((-rank, macs))
        best = np.concatenate([[-np.inf], np.maximum.accumulate(rank[order])[:-1]])
        _FRONTS[space] = rows[readable[order[rank[order] > best]]]
    return _FRONTS[space]


def network_costs(space: Space, X: np.ndarray) -> np.ndarray:
    """log(1 + MACs) and log(1 + parameters) of genotypes `X` `[n, genes]`, `[n, 2]`."""
    if space.size > ENUMERABLE:
        return np.log1p(AdditiveCost(space, lambda op: [op.macs, op.params])(X))
    everything = enumerate_space(space)
    row = {x.tobytes(): i for i, x in enumerate(everything)}
    rows = [row[x.tobytes()] for x in np.ascontiguousarray(X, dtype=np.int64)]
    return np.concatenate(_whole(space).groups[:2], axis=1)[rows]


class _Whole(NamedTuple):
    """What is known of every network of a small space, in the order of `enumerate_space`."""

    groups: list[np.ndarray]  # log MACs [n, 1], log parameters [n, 1], paths [n, paths]
    operators: list[np.ndarray]  # [n, operators], see `Features.operators`


_WHOLE: WeakKeyDictionary[Space, _Whole] = WeakKeyDictionary()


def _whole(space: Space) -> _Whole:
    """Builds a space whole; kept as long as it, as several searches need it."""
    if space not in _WHOLE:
        networks = [space.network(row) for row in enumerate_space(space)]
        live = [network.live for network in networks]
        costs = np.log1p([[n.macs, n.params] for n in live])
        operators = [counts for counts in (operator_features(networks), operator_features(live)) if counts.size]
        _WHOLE[space] = _Whole([costs[:, :1], costs[:, 1:], path_features(live)], operators)
    return _WHOLE[space]
