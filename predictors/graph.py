"""What a network computes, as counts of the paths between its bottlenecks."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from search_spaces import Network, Operator
from search_spaces.operators import Conv, Sum, Zero

Path = tuple[tuple[object, ...], ...]


def path_counts(network: Network) -> Counter[Path]:
    """How often every sequence of operators leads from one bottleneck of the network to the next.

    A bottleneck is a value that everything before it flows through: between two of them lies a block or
    a cell. Path counts are the encoding that White et al. ("A Study on Encodings for
    NAS", NeurIPS 2020) find best for predictors; taken from the live network, they are equal for
    genotypes that differ only in what has no effect. Operators are told apart by kind,
    kernel and stride; additions and identities are no step.
    """
    operators = network.live.operators
    root = list(range(len(operators) + 1))  # values that differ only by an activation are one
    sources: list[list[tuple[int, bool]]] = [[] for _ in root]  # (value, whether the operator is a step from there)
    reached = {0}
    for i, op in enumerate(operators, 1):
        inputs = [root[v] for v in op.inputs]
        if isinstance(op, Sum) and len(inputs) == 1:
            root[i] = inputs[0]
        elif not isinstance(op, Zero):
            steps = [not isinstance(op, Sum) and not (isinstance(op, Conv) and k == 1) for k in range(len(inputs))]
            sources[i] = [(v, step) for v, step in zip(inputs, steps, strict=True) if v in reached]
            reached.update([i] if sources[i] else [])
    values = sorted(reached)
    bottlenecks = _bottlenecks(values, sources)
    counts: Counter[Path] = Counter()
    paths: dict[int, Counter[Path]] = {0: Counter()}
    for i in values[1:]:
        arriving: Counter[Path] = Counter()
        label = (_label(operators[i - 1]),)
        for v, step in sources[i]:
            for path, times in ({(): 1} if v in bottlenecks else paths[v]).items():
                arriving[path + label if step else path] += times
        paths[i] = arriving
        if i in bottlenecks and any(arriving):  # identities alone are nothing
            counts.update(arriving)
    return counts


def path_features(networks: Iterable[Network]) -> np.ndarray:
    """`path_counts` of networks as columns that vary, float64 `[n, paths]`; 15,625 cells take 20 s."""
    return _columns([path_counts(network) for network in networks])


def operator_features(networks: Iterable[Network]) -> np.ndarray:
    """How often every operator occurs, told apart as in `path_counts`, as columns that vary `[n, operators]`.

    What a device takes time for: it grows with the number of operators even where they compute nothing.
    """
    return _columns([Counter(_label(op) for op in network.operators) for network in networks])


def _columns(counts: list[Counter[Any]]) -> np.ndarray:
    column = {path: j for j, path in enumerate(sorted({p for c in counts for p in c}, key=repr))}
    features = np.zeros((len(counts), len(column)))
    for row, count in zip(features, counts, strict=True):
        for path, times in count.items():
            row[column[path]] = times
    return features[:, features.std(axis=0) > 0]


def _label(op: Operator) -> tuple[object, ...]:
    return (type(op).__name__, *(getattr(op, name, None) for name in ("kernel", "stride", "reduce")))


def _bottlenecks(values: list[int], sources: list[list[tuple[int, bool]]]) -> set[int]:
    """Values that no connection jumps over."""
    furthest = {v: v for v in values}
    for i in values:
        for v, _ in sources[i]:
            furthest[v] = max(furthest[v], i)
    found, reach = set(), 0
    for v in values:
        if reach <= v:
            found.add(v)
        reach = max(reach, furthest[v])
    return found
