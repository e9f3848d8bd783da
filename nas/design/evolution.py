"""Aging evolution over the spaces of a hyperspace (Wang et al., SpaceEvo, ICCV 2023, section 4.3)."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from nas.errors import UserError
from search_spaces.hyperspace import Design, Hyperspace
from search_spaces.spaceevo import STAGES

_TRIES = 200  # mutations of one parent until one is new; then a random space takes its place


@dataclass(frozen=True)
class EvolutionConfig:
    """Sizes of the evolution; the defaults are the published ones.

    Attributes:
        spaces: Scored in all.
        population: Alive at once.
        tournament: Of which the best has children.
        seed: Of every random choice.
    """

    spaces: int = 5000
    population: int = 500
    tournament: int = 125
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.tournament <= self.population <= self.spaces:
            raise UserError(
                f"tournament (={self.tournament}), population (={self.population}) and spaces (={self.spaces}) "
                "must be at least 1 and none above the next."
            )


def evolve(hyper: Hyperspace, config: EvolutionConfig, score: Callable[[Design], float]) -> list[tuple[Design, float]]:
    """Scores spaces, each once, and returns them in the order in which they were scored.

    The population begins with a space of every block type throughout, then random ones. A cycle takes the
    best of a tournament, changes one stage's block type in one child and one stage's window in the
    other, and lets the two oldest die. Unlike the release, a space that was seen is rejected, and every
    block type can be at every stage.

    Args:
        hyper: The hyperspace; if it has fewer spaces than are wanted, all of them are scored.
        config: Sizes.
        score: Of a space, higher is better; called in an order that depends on the seed and the scores only.
    """
    rng = np.random.default_rng([config.seed, 3])
    wanted = min(config.spaces, hyper.size)
    seen: set[Design] = set()
    history: list[tuple[Design, float]] = []
    alive: deque[tuple[Design, float]] = deque(maxlen=config.population)  # the oldest dies when one is added

    def add(design: Design) -> None:
        seen.add(design)
        history.append((design, score(design)))
        alive.append(history[-1])

    def free() -> bool:
        return len(seen) < wanted

    for kind in hyper.types:
        if free():
            add(fresh(partial(uniform, hyper, kind, rng), hyper, seen, rng))
    while free() and len(alive) < config.population:
        add(fresh(partial(random_design, hyper, rng), hyper, seen, rng))
    while free():
        contestants = rng.choice(len(alive), min(config.tournament, len(alive)), replace=False)
        parent = max((alive[i] for i in contestants), key=lambda entry: entry[1])[0]
        add(fresh(partial(changed, hyper, parent, rng, block=True), hyper, seen, rng))
        if free():
            add(fresh(partial(changed, hyper, parent, rng, block=False), hyper, seen, rng))
    return history


def choices(hyper: Hyperspace) -> list[tuple[int, ...]]:
    """What each position of a design can be."""
    return [hyper.types] * len(STAGES) + list(hyper.windows)


def random_design(hyper: Hyperspace, rng: np.random.Generator) -> Design:
    """Any space, all alike."""
    return tuple(int(rng.choice(options)) for options in choices(hyper))


def uniform(hyper: Hyperspace, kind: int, rng: np.random.Generator) -> Design:
    """A space of one block type throughout, with random windows."""
    return (kind,) * len(STAGES) + random_design(hyper, rng)[len(STAGES) :]


def changed(hyper: Hyperspace, design: Design, rng: np.random.Generator, *, block: bool) -> Design:
    """The space with another block type, or window, at one stage; itself where there is no other."""
    where = int(rng.integers(len(STAGES))) + (0 if block else len(STAGES))
    others = [c for c in choices(hyper)[where] if c != design[where]]
    value = int(rng.choice(others)) if others else design[where]
    return (*design[:where], value, *design[where + 1 :])


def fresh(draw: Callable[[], Design], hyper: Hyperspace, seen: set[Design], rng: np.random.Generator) -> Design:
    """The first space drawn that is not seen; after many tries any that is not, which the caller knows to exist."""
    for _ in range(_TRIES):
        if (design := draw()) not in seen:
            return design
    while (design := random_design(hyper, rng)) in seen:
        pass
    return design
