"""Progressive shrinking as data: the phases of Once-for-All (Cai et al., ICLR 2020; the released code's numbers)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from search_spaces import Space
from supernets.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of progressive shrinking.

    Attributes:
        name: What it opens.
        epochs: As published, warm-up included.
        warmup: Epochs of linear warm-up in these.
        rate: Peak learning rate for the published batch of 2048.
        subnets: Random subnets a step, gradients summed; 0 for the full network alone.
        kernels: How many kernel sizes, from the largest, are open.
        depths: How many depths.
        expands: How many widths.
        sort: Whether hidden channels are sorted by importance before it.
    """

    name: str
    epochs: int
    warmup: int
    rate: float
    subnets: int
    kernels: int = 1
    depths: int = 1
    expands: int = 1
    sort: bool = False


PROGRESSIVE = (
    Phase("full", 180, 5, 2.6, 0),
    Phase("kernel", 125, 5, 0.96, 1, kernels=3),
    Phase("depth 1", 25, 0, 0.08, 2, kernels=3, depths=2),
    Phase("depth 2", 125, 5, 0.24, 2, kernels=3, depths=3),
    Phase("width 1", 25, 0, 0.08, 4, kernels=3, depths=3, expands=2, sort=True),
    Phase("width 2", 125, 5, 0.24, 4, kernels=3, depths=3, expands=3, sort=True),
)


class Span(NamedTuple):
    """A phase with the steps that it takes: from `start` up to, not including, `end`."""

    phase: Phase
    start: int
    end: int


def spans(steps: int, phases: Sequence[Phase] = PROGRESSIVE) -> list[Span]:
    """The phases over a training of so many steps, each with its published share and at least one step.

    Raises:
        TrainingError: if there are fewer steps than phases.
    """
    if steps < len(phases):
        raise TrainingError(f"Progressive shrinking needs at least {len(phases)} steps, got {steps}; train longer.")
    epochs = np.cumsum([phase.epochs for phase in phases])
    ends = np.maximum(np.round(steps * epochs / epochs[-1]).astype(int), np.arange(1, len(phases) + 1))
    ends = np.minimum(ends, steps - np.arange(len(phases))[::-1])
    return [Span(phase, *ends_) for phase, ends_ in zip(phases, zip([0, *ends[:-1]], ends, strict=True), strict=True)]


def phase_at(found: Sequence[Span], step: int) -> Span:
    """The span that a step lies in; the last one for steps beyond."""
    return next((span for span in found if step < span.end), found[-1])


def rate_schedule(found: Sequence[Span], peak: float) -> Callable[[jax.Array], jax.Array]:
    """Learning rate by step: in every phase linear warm-up, then cosine to zero.

    Args:
        found: The phases' spans.
        peak: Of the first phase; the others keep their published ratio to it.
    """
    starts = jnp.array([span.start for span in found])
    lengths = jnp.array([span.end - span.start for span in found])
    warm = jnp.array([(s.end - s.start) * s.phase.warmup / s.phase.epochs for s in found])
    peaks = jnp.array([peak * s.phase.rate / found[0].phase.rate for s in found])

    def rate(step: jax.Array) -> jax.Array:
        i = jnp.clip(jnp.searchsorted(starts, step, side="right") - 1, 0, len(found) - 1)
        place = step - starts[i] + 0.5
        rising = place / jnp.maximum(warm[i], 1e-9)
        share = jnp.clip((place - warm[i]) / jnp.maximum(lengths[i] - warm[i], 1e-9), 0.0, 1.0)
        return peaks[i] * jnp.where(place < warm[i], rising, 0.5 * (1 + jnp.cos(jnp.pi * share)))

    return rate


def draw(space: Space, phase: Phase, rng: np.random.Generator) -> np.ndarray:
    """Genotypes `[max(subnets, 1), genes]` of a step, resolution not yet set: the open choices, uniformly."""
    opened = {"kernel": phase.kernels, "depth": phase.depths, "expand": phase.expands}
    kinds = [gene.name.rpartition(".")[2] for gene in space.genes]
    lowest = [max(0, c - opened.get(kind, 1)) for kind, c in zip(kinds, space.cardinality, strict=True)]
    return rng.integers(lowest, space.cardinality, size=(max(phase.subnets, 1), len(lowest)))
