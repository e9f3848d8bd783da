"""Which networks a step trains, and what changes at the borders of phases."""

from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from search_spaces import Linear, MBConvSpace, Network, Space
from supernets import schedule
from supernets.config import TrainConfig
from supernets.errors import TrainingError
from supernets.params import Params
from supernets.rules import AttentiveSampler, Batch, Draw, batch_loss
from supernets.shared import init_networks, init_shared
from supernets.sorting import channel_order, permute
from supernets.update import TrainState, without_momentum

SANDWICHES = ("sandwich", "qfa")  # methods whose steps are largest, smallest and random networks


class Draws:
    """The networks of every step of a training, drawn from its seed and the step.

    Args:
        space: The space.
        config: How it is trained.
        steps: In all.
        per_epoch: Steps of an epoch.
        taught: Whether a teacher is given from outside.

    Raises:
        TrainingError: if the method does not suit the space.
    """

    def __init__(self, *, space: Space, config: TrainConfig, steps: int, per_epoch: int, taught: bool = False) -> None:
        self.space, self.config, self.warm = space, config, config.warm_epochs * per_epoch
        self.taught = taught
        self.phases: list[schedule.Span] = []
        if config.method == "ofa":
            if not isinstance(space, MBConvSpace):
                raise TrainingError(f"method (=ofa) shrinks elastic blocks, which {space.name} has not; use sandwich.")
            self.phases = schedule.spans(steps)
        self._column = space.index.get("resolution")
        self.network = lru_cache(maxsize=4096)(lambda arch: space.network(arch))
        sample = self.largest(None)
        last = sample.operators[-1]
        assert isinstance(last, Linear)
        self.classes, self.features = last.out_channels, last.in_channels
        if config.sampling in ("best", "worst"):
            self._attentive = AttentiveSampler(space, config.sampling)

    def init(self) -> Params:
        """Fresh weights."""
        if self.config.method == "scratch":
            return init_networks([self.largest(None)], self.config.seed)
        return init_shared(self.space, self.config.seed)

    def largest(self, size: int | None) -> Network:
        """The largest network, or the one to train from scratch, at a resolution of the space."""
        if self.config.method == "scratch":
            return self._scratch
        return self.network(tuple(self.space.largest_at(size).tolist()))

    @cached_property
    def _scratch(self) -> Network:
        return self.space.network(self.space.parse(self.config.arch))

    def _choice(self, step: int) -> tuple[np.random.Generator, list[np.ndarray], int]:
        """The step's generator after its genotypes and its resolution were drawn, and these."""
        space, config = self.space, self.config
        rng = np.random.default_rng([config.seed, 1, step])
        rows: list[np.ndarray] = [space.largest]
        if config.method == "ofa":
            phase = schedule.phase_at(self.phases, step).phase
            rows = list(schedule.draw(space, phase, rng)) if phase.subnets else rows
        elif config.method == "single_path":
            n = max(1, config.random_subnets)
            rows = list(fair(space, rng, n) if config.sampling == "fair" else space.sample(rng, n))
        elif config.method in SANDWICHES and step >= self.warm:
            rows += [space.smallest, *space.sample(rng, config.random_subnets)]
        column = self._column
        return rng, rows, int(rng.integers(space.cardinality[column])) if column is not None else 0

    def size(self, step: int) -> int:
        """The resolution of a step, pixels."""
        if self.config.method == "scratch" or self._column is None:
            return self.largest(None).size
        return int(self.space.genes[self._column].choices[self._choice(step)[2]])

    def of_step(self, step: int, state: TrainState, batch: Batch) -> list[Draw]:
        """The networks of a step, all of one resolution; the one that teaches in place first."""
        config, space = self.config, self.space
        if config.method == "scratch":
            return [Draw(self._scratch, "teacher" if self.taught else "label", dropout=True)]
        rng, rows, resolution = self._choice(step)
        if config.method in SANDWICHES and config.sampling in ("best", "worst") and len(rows) > 2:
            fixed = {} if self._column is None else {self._column: resolution}
            loss = batch_loss(state.params, batch, space.free_widths)
            rows[2:] = self._attentive(rng, len(rows) - 2, fixed, loss)
        X = np.array(rows)
        if self._column is not None:
            X[:, self._column] = resolution
        networks = [self.network(tuple(x)) for x in space.canonical(X).tolist()]
        if config.method in SANDWICHES:
            return [Draw(networks[0], dropout=True), *(Draw(network, "first") for network in networks[1:])]
        source: Any = "teacher" if state.teacher else "label"
        return [Draw(network, source, dropout=True) for network in networks]

    def before(self, step: int, state: TrainState) -> TrainState:
        """The state as a step wants it: sorted channels, a fresh momentum, a teacher, where a phase begins."""
        space = self.space
        if self.config.method == "sandwich" and step == self.warm > 0 and isinstance(space, MBConvSpace):
            return _sorted(state, space)
        for before, span in zip(self.phases, self.phases[1:], strict=False):
            if step == span.start:
                state = self.with_teacher(state)
                if span.phase.sort:
                    assert isinstance(space, MBConvSpace)
                    state = _sorted(state, space, before.phase.expands)
                return without_momentum(state)
        return state

    def has_teacher(self, step: int) -> bool:
        """Whether the state after so many steps holds a teacher: the full network at the end of the first phase."""
        return bool(self.phases) and step > self.phases[1].start

    def with_teacher(self, state: TrainState) -> TrainState:
        """The state with a copy of the weights as teacher, unless it has one."""
        if state.teacher:
            return state
        return state._replace(teacher=jax.tree.map(jnp.copy, state.params))


def fair(space: Space, rng: np.random.Generator, n: int) -> np.ndarray:
    """`n` genotypes `[n, genes]` that share every gene's choices out evenly, in an order of its own for each gene."""
    columns = [np.resize(rng.permutation(int(c)), n) for c in space.cardinality]
    return np.stack([rng.permutation(column) for column in columns], axis=1)


def _sorted(state: TrainState, space: MBConvSpace, trained: int = 1) -> TrainState:
    """The state with hidden channels sorted by importance, momenta and averages along with their weights."""
    orders = channel_order(state.params, space, trained)

    def move(node: Any) -> Any:
        return permute(node, orders) if isinstance(node, dict) else node

    inner = jax.tree.map(move, state.optimiser, is_leaf=lambda node: isinstance(node, dict))
    return TrainState(move(state.params), inner, state.teacher, move(state.average))
