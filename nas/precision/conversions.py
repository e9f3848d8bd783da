"""What conversions between float and integers cost in one network, learned from mixed files measured whole."""

from collections.abc import Mapping, Sequence

import numpy as np

from predictors.mixed_precision import Conversions, learned_conversions
from search_spaces import Network

_RATES = (0.03, 0.5)  # of changes of precision from one operator to the next


def edges(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of operators of which the second reads what the first makes, `[n, 2]`, and how many numbers, `[n]`."""
    found = [(v - 1, i) for i, op in enumerate(network) for v in sorted(set(op.inputs)) if v]
    pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
    values = np.array([float(np.prod(op.out_shape)) for op in network])
    return pairs, values[pairs[:, 0]]


def switching_sets(operators: Sequence[str], rng: np.random.Generator, n: int) -> list[tuple[str, ...]]:
    """Sets of operators to learn prices from: mixed, from few to many changes along the network.

    Args:
        operators: Two or more.
        rng: Of the draws.
        n: Sets.
    """
    found: list[tuple[str, ...]] = []
    while len(found) < n:
        rate = np.exp(rng.uniform(*np.log(_RATES)))
        changes = np.concatenate([[rng.random() < 0.5], rng.random(len(operators) - 1) < rate])
        chosen = np.cumsum(changes) % 2 == 1
        if 0 < chosen.sum() < len(operators):
            found.append(tuple(name for name, here in zip(operators, chosen, strict=True) if here))
    return found


def learned(
    network: Network,
    in_float: Mapping[str, float],
    on_integers: Mapping[str, float],
    sets: Sequence[Sequence[str]],
    measured_ms: Sequence[float],
) -> Conversions:
    """Conversions that explain what mixed files take beyond the sum over their operators.

    Args:
        network: In the files.
        in_float: Times of its operators, ms, that add up to the fp32 file's latency.
        on_integers: Likewise to the INT8 file's.
        sets: Operators on integers in every file.
        measured_ms: Latencies of the files; without any, conversions are free.
    """
    if not sets:
        return Conversions()
    pairs, values = edges(network)
    names = [op.name for op in network]
    rows, plain = [], []
    for chosen in sets:
        on = np.isin(names, list(chosen))
        changed = on[pairs[:, 0]] != on[pairs[:, 1]]
        rows.append([1.0, changed.sum(), values[changed].sum() / 1e6])
        plain.append(sum(on_integers[name] if here else in_float[name] for name, here in zip(names, on, strict=True)))
    return learned_conversions(np.array(rows), np.array(plain), np.array(measured_ms))
