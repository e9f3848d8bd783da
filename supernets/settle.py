"""How a search that aims at a latency ends: the distribution brought to it, and the network that it takes.

The most probable block of every layer need not have the distribution's expected latency: after a short search it was
7 % slower. So the network is the most probable one of those that have the latency, or the best of several drawn from
those.
"""

import numpy as np

from search_spaces import Architecture
from supernets.architecture import LatencyModel, Layers, softmax
from supernets.errors import TrainingError

_STEPS = 20_000  # of the latency; rounded up for every layer, which loses a thousandth of it in twenty layers
_HALVINGS = 60  # to the last bit of a double
_WINDOW = 0.02  # share of the latency that the network may stay below it where there is one
_DRAWN = 200_000  # networks at most until enough have the latency; a tenth has where the distribution expects it
_AT_ONCE = 10_000


def ends(latency: LatencyModel) -> tuple[float, float]:
    """Latency of the fastest and of the slowest network, ms."""
    low, high = (sum(float(pick(costs)) for costs in latency.blocks_ms) for pick in (np.min, np.max))
    return latency.fixed_ms + low, latency.fixed_ms + high


def check_reachable(latency: LatencyModel, ms: float) -> None:
    """A distribution over the networks can have an expected latency between the ends only.

    Raises:
        TrainingError: if this one is outside.
    """
    low, high = ends(latency)
    if not low < ms < high:
        raise TrainingError(
            f"reference_ms (={ms:g}) must be between the fastest and the slowest network's: {low:.3g} to {high:.3g} ms."
        )


def tilted(alphas: Layers, latency: LatencyModel, ms: float) -> Layers:
    """Logits of the distribution of an expected latency that is nearest to a given one by Kullback-Leibler divergence.

    That is softmax(alpha - tilt * cost) in every layer, with one tilt for all (Csiszar, Annals of Probability 1975).

    Args:
        alphas: Logits of every layer's candidates.
        latency: Of the candidates.
        ms: The expected latency wanted.

    Raises:
        TrainingError: if no distribution has it.
    """
    check_reachable(latency, ms)

    def moved(tilt: float) -> Layers:
        return [a - tilt * costs for a, costs in zip(alphas, latency.blocks_ms, strict=True)]

    def excess(tilt: float) -> float:
        return latency.expected_ms([softmax(a) for a in moved(tilt)]) - ms

    high = 1.0 / max(float(np.ptp(costs)) for costs in latency.blocks_ms)
    while excess(high) > 0 or excess(-high) < 0:
        high *= 2
    low = -high
    for _ in range(_HALVINGS):  # a steeper tilt is faster
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return moved((low + high) / 2)


def most_probable(alphas: Layers, latency: LatencyModel, ms: float) -> Architecture:
    """The most probable network of at most a latency and, where there are such, at least 98 % of it.

    Exact but for rounding: dynamic programming over the layers and the latency so far.

    Args:
        alphas: Logits of every layer's candidates.
        latency: Of the candidates.
        ms: The latency.

    Raises:
        TrainingError: if even the fastest network is slower.
    """
    least = [float(costs.min()) for costs in latency.blocks_ms]
    room = ms - latency.fixed_ms - sum(least)
    if room < 0:
        raise TrainingError(
            f"reference_ms (={ms:g}) must be at least the fastest network's, {ends(latency)[0]:.3g} ms."
        )
    width = ms / _STEPS
    most = int(room / width)
    score, taken = np.full(most + 1, -np.inf), []  # of every latency so far, in steps above the fastest
    score[0] = 0.0
    for a, costs, low in zip(alphas, latency.blocks_ms, least, strict=True):
        steps = np.ceil((costs - low) / width).astype(int)
        ways = np.full((len(a), most + 1), -np.inf)
        for way, log_p, step in zip(ways, np.log(softmax(a) + 1e-300), steps, strict=True):
            way[step:] = score[: max(most + 1 - step, 0)] + log_p
        taken.append((ways.argmax(axis=0), steps))
        score = ways.max(axis=0)
    near = max(0, most - int(_WINDOW * _STEPS))
    at = near + int(score[near:].argmax())
    if not np.isfinite(score[at]):
        at = int(score.argmax())
    path: list[int] = []
    for choice, steps in reversed(taken):
        path.append(int(choice[at]))
        at -= int(steps[path[-1]])
    return tuple(reversed(path))


def drawn(alphas: Layers, latency: LatencyModel, ms: float, n: int, rng: np.random.Generator) -> list[Architecture]:
    """Different networks of the distribution, each of at most a latency and at least 98 % of it.

    Args:
        alphas: Logits of every layer's candidates, best those of `tilted`.
        latency: Of the candidates.
        ms: The latency.
        n: How many; fewer come where there are no more, or hardly any is drawn.
        rng: Draws them.
    """
    found: dict[Architecture, None] = {}
    for _ in range(0, _DRAWN, _AT_ONCE):
        if len(found) >= n:
            break
        choices = [rng.choice(len(a), size=_AT_ONCE, p=softmax(a)) for a in alphas]
        total = latency.fixed_ms + sum(costs[k] for costs, k in zip(latency.blocks_ms, choices, strict=True))
        near = np.flatnonzero((total <= ms) & (total >= (1 - _WINDOW) * ms))
        found |= dict.fromkeys(tuple(int(choice[i]) for choice in choices) for i in near)
    return list(found)[:n]
