"""Distributions over the blocks of every layer: their gradients, their expected latency, the losses with it.

Everything here is a few hundred numbers, in numpy, double precision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from search_spaces import ChoiceSpace, Operator
from supernets.errors import TrainingError

Layers = list[np.ndarray]  # one array [candidates] a layer


def softmax(a: np.ndarray) -> np.ndarray:
    """Probabilities of logits `[n]`."""
    e = np.exp(a - a.max())
    return e / e.sum()


def through_softmax(p: np.ndarray, g: np.ndarray) -> np.ndarray:
    """dL/dalpha_i = sum_j g_j p_j (delta_ij - p_i), for p = softmax(alpha) and g = dL/dp `[n]`."""
    return p * (g - float(g @ p))


@dataclass(frozen=True)
class LatencyModel:
    """Latency of a network as a sum, from a latency table.

    Attributes:
        blocks_ms: What every candidate of every layer costs, ms; 0 for an identity.
        fixed_ms: What all networks have, ms.
    """

    blocks_ms: tuple[np.ndarray, ...]
    fixed_ms: float

    def expected_ms(self, shares: Sequence[np.ndarray]) -> float:
        """Expected latency for probabilities (or mixing weights) of the candidates."""
        return self.fixed_ms + float(sum(m @ costs for m, costs in zip(shares, self.blocks_ms, strict=True)))

    def of(self, path: Sequence[int]) -> float:
        """Latency of one network, ms."""
        return self.fixed_ms + float(sum(costs[k] for k, costs in zip(path, self.blocks_ms, strict=True)))


def latency_model(
    space: ChoiceSpace, costs: Callable[[Operator], Sequence[float] | np.ndarray], constant_ms: float
) -> LatencyModel:
    """The latency of every candidate of every layer, and of what all networks share.

    Args:
        space: The space.
        costs: What an operator costs, ms, first of all; as `LatencyTable.costs`, which raises for an unknown one.
        constant_ms: What every network costs besides.
    """
    blocks = [np.zeros(int(count)) for count in space.cardinality]
    fixed = constant_ms
    for j in range(int(space.cardinality.max())):
        arch = np.minimum(j, space.cardinality - 1)
        parts: dict[str, float] = {}
        for op in space.network(arch):
            parts[op.part] = parts.get(op.part, 0.0) + float(costs(op)[0])
        for i, own in enumerate(blocks):
            own[arch[i]] = parts.pop(f"block{i + 1}", 0.0)
        if j == 0:
            fixed += sum(parts.values())
    return LatencyModel(tuple(blocks), fixed)


def multiplied(loss: float, ms: float, *, alpha: float, beta: float, reference_ms: float | None) -> tuple[float, float]:
    """Loss times alpha * (log LAT)^beta, the exponent outside the logarithm; LAT in microseconds.

    With a reference, (log LAT / log reference)^beta (ProxylessNAS's "mul#log"; without, FBNet's loss).

    Returns:
        The factor of the loss (and of its gradient), and d/dLAT of the product per millisecond.

    Raises:
        TrainingError: unless log LAT is above 0, where the power and its sign mean something.
    """
    us = 1000 * ms
    if us <= 1.0 or (reference_ms is not None and 1000 * reference_ms <= 1.0):
        raise TrainingError(f"Latency (={ms:g} ms, reference {reference_ms}) must be above 0.001 ms for its logarithm.")
    scale = np.log(1000 * reference_ms) if reference_ms is not None else 1.0
    ratio = np.log(us) / scale
    factor = alpha * ratio**beta
    slope = loss * alpha * beta * ratio ** (beta - 1) / (scale * us) * 1000
    return float(factor), float(slope)


def added(ms: float, *, weight: float, reference_ms: float) -> tuple[float, float]:
    """Loss + weight * (LAT - reference) / reference ("add#linear"): the term and its slope per millisecond."""
    return weight * (ms - reference_ms) / reference_ms, weight / reference_ms


def aimed(ms: float, *, multiplier: float, damping: float, reference_ms: float) -> tuple[float, float]:
    """An augmented Lagrangian of the excess e = LAT / reference - 1: multiplier * e + damping * e^2 / 2.

    The multiplier is moved up its gradient, e, until the latency is the reference (Luo et al., LightNAS, TCAD 2022;
    the quadratic term damps what would swing, Platt and Barr, NIPS 1987).

    Returns:
        The term and its slope per millisecond.
    """
    excess = ms / reference_ms - 1
    return multiplier * excess + damping * excess**2 / 2, (multiplier + damping * excess) / reference_ms


@dataclass(frozen=True)
class Pair:
    """Two sampled candidates of a layer, and which is active (ProxylessNAS's two-path mode)."""

    a: int
    b: int
    active: int


def sample_pair(alpha: np.ndarray, rng: np.random.Generator) -> Pair:
    """Two candidates without replacement by softmax(alpha), one active by the softmax over the two."""
    p = softmax(alpha)
    a, b = (int(i) for i in rng.choice(len(p), 2, replace=False, p=p))
    q = softmax(alpha[[a, b]])
    return Pair(a, b, a if rng.random() < q[0] else b)


def rescaled(old: np.ndarray, new: np.ndarray, pair: Pair) -> np.ndarray:
    """The two updated logits shifted so that the probabilities of all others stay (log-sum-exp of the pair kept)."""
    two = [pair.a, pair.b]
    shifted = new.copy()
    shifted[two] -= np.logaddexp.reduce(new[two]) - np.logaddexp.reduce(old[two])
    return shifted


def gumbel_softmax(theta: np.ndarray, temperature: float, rng: np.random.Generator) -> np.ndarray:
    """softmax((theta + G) / temperature), G = -log(-log U)."""
    u = rng.uniform(1e-12, 1 - 1e-12, size=theta.shape)
    return softmax((theta - np.log(-np.log(u))) / temperature)


class Adam:
    """Adam over the layers' logits, with L2 decay; functional, the moments are passed in and out."""

    def __init__(self, rate: float, b1: float, b2: float, decay: float) -> None:
        self.rate, self.b1, self.b2, self.decay = rate, b1, b2, decay

    def __call__(self, a: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, t: int) -> tuple[np.ndarray, ...]:
        """New values and moments `[...]` after the t-th update, t from 1."""
        g = g + self.decay * a
        m = self.b1 * m + (1 - self.b1) * g
        v = self.b2 * v + (1 - self.b2) * g * g
        step = m / (1 - self.b1**t) / (np.sqrt(v / (1 - self.b2**t)) + 1e-8)
        return a - self.rate * step, m, v
