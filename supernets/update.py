"""The end of a step: the summed gradient, clipped, moves the weights."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from supernets.config import TrainConfig
from supernets.params import Params
from supernets.schedule import rate_schedule, spans

_FALLING, _ENDING = 0.8, 0.05  # BigNAS: share of the steps in which the rate falls, and what is left of it


class TrainState(NamedTuple):
    """What changes during training; `teacher` and `average` are empty where they are not used."""

    params: Params
    optimiser: Any
    teacher: Params = {}  # noqa: RUF012 - never changed in place
    average: Params = {}  # noqa: RUF012

    def saved(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {name: value for name, value in self._asdict().items() if name in ("params", "optimiser") or value}


def rates(config: TrainConfig, steps: int) -> optax.Schedule:
    """Learning rate by step: linear warm-up and cosine, for OFA a schedule a phase."""
    if config.method == "ofa":
        return rate_schedule(spans(max(steps, 6)), config.peak_lr)
    warm = max(1, steps // 20)
    if config.schedule == "exponential":
        falling = max(1, round(_FALLING * steps) - warm)
        return optax.warmup_exponential_decay_schedule(
            0.0, config.peak_lr, warm, falling, _ENDING, end_value=_ENDING * config.peak_lr
        )
    return optax.warmup_cosine_decay_schedule(0.0, config.peak_lr, warm, max(2, steps))


def optimiser(config: TrainConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """SGD with Nesterov momentum, decay on kernels only."""

    def kernels(params: Params) -> dict[str, bool]:
        return {name: name.endswith(".kernel") for name in params}

    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, mask=kernels),
        optax.sgd(schedule, momentum=config.momentum, nesterov=True),
    )


class Update:
    """The compiled update; `schedule` replaces the configuration's learning rates."""

    def __init__(self, config: TrainConfig, steps: int, schedule: optax.Schedule | None = None) -> None:
        self.optimiser = optimiser(config, schedule or rates(config, steps))

        def update(state: TrainState, grads: Params, rate: float) -> TrainState:
            scale = jnp.minimum(1.0, config.clip_norm / (_norm(grads) + 1e-12))
            grads = jax.tree.map(lambda g: g * scale, grads)
            updates, inner = self.optimiser.update(grads, state.optimiser, state.params)
            if rate != 1:  # after the guard went back, see `supernets.guard`
                updates = jax.tree.map(lambda u: u * rate, updates)
            params = optax.apply_updates(state.params, updates)
            average = {name: config.ema * a + (1 - config.ema) * params[name] for name, a in state.average.items()}
            return TrainState(params, inner, state.teacher, average)

        self.run = jax.jit(update, donate_argnums=0, static_argnums=2)
        self.zeros = zeros_like

    def fresh(self, config: TrainConfig, params: Params) -> TrainState:
        """The state before the first step."""
        average = jax.tree.map(jnp.copy, params) if config.ema else {}
        return TrainState(params, self.optimiser.init(params), {}, average)


def _norm(grads: Params) -> jax.Array:
    """Of all as one vector: a sum for every array would be half of the update's kernels, and of its compiling."""
    flat = jax.lax.optimization_barrier(jnp.concatenate([g.ravel() for g in grads.values()]))
    return jnp.sqrt(jnp.vdot(flat, flat))


@partial(jax.jit, keep_unused=True)  # whose device the zeros are bound to
def zeros_like(params: Params) -> Params:
    """Where gradients are summed up."""
    return jax.tree.map(jnp.zeros_like, params)


@jax.jit
def copy(state: TrainState) -> TrainState:
    """A state that updates do not consume."""
    return jax.tree.map(jnp.copy, state)


def without_momentum(state: TrainState) -> TrainState:
    """The state at the start of a phase: the momentum forgotten, the count of steps kept."""
    inner = jax.tree.map(
        lambda leaf: jnp.zeros_like(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, state.optimiser
    )
    return state._replace(optimiser=inner)
