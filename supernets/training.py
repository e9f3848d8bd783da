"""Training a supernet: sandwich rule with in-place distillation (Yu et al., BigNAS, ECCV 2020)."""

import csv
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from search_spaces import MBConvSpace
from supernets.chain import gradient, prepare
from supernets.checkpoint import Checkpoints
from supernets.config import TrainConfig
from supernets.errors import TrainingError
from supernets.images import augment
from supernets.interrupt import interruptible
from supernets.params import Array, Params, init_params
from supernets.sorting import channel_order, permute

_PREPARED = 4  # resolutions; more would keep a person waiting for the first step

OnStep = Callable[["StepReport"], None]


class StepReport(NamedTuple):
    """A step as progress shows it: loss and training accuracy (percent) of the largest network, smoothed."""

    step: int
    steps: int
    loss: float
    accuracy: float


class TrainState(NamedTuple):
    """What changes during training."""

    params: Params
    optimiser: Any


def optimiser(config: TrainConfig, steps: int) -> optax.GradientTransformation:
    """SGD with Nesterov momentum, decay on kernels only, linear warm-up and cosine."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.peak_lr, max(1, steps // 20), max(2, steps))

    def kernels(params: Params) -> dict[str, bool]:
        return {name: name.endswith(".kernel") for name in params}

    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, mask=kernels),
        optax.sgd(schedule, momentum=config.momentum, nesterov=True),
    )


class Update:
    """The compiled end of a step: the summed gradient, clipped, moves the weights."""

    def __init__(self, config: TrainConfig, steps: int) -> None:
        self.optimiser = optimiser(config, steps)

        def update(state: TrainState, grads: Params) -> TrainState:
            scale = jnp.minimum(1.0, config.clip_norm / (optax.global_norm(grads) + 1e-12))
            grads = jax.tree.map(lambda g: g * scale, grads)
            updates, inner = self.optimiser.update(grads, state.optimiser, state.params)
            return TrainState(optax.apply_updates(state.params, updates), inner)

        self.run = jax.jit(update, donate_argnums=0)
        self.zeros = jax.jit(lambda params: jax.tree.map(jnp.zeros_like, params))


def train(
    space: MBConvSpace,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    mean: np.ndarray,
    std: np.ndarray,
    config: TrainConfig,
    folder: Path,
    resume: bool = True,
    on_step: OnStep | None = None,
    on_compiled: Callable[[int, int], None] | None = None,
) -> Params:
    """Trains the supernet of a space and leaves checkpoints and `metrics.csv` in a folder.

    Every random choice is made from the seed and the step, so that a training that was killed
    ends, when called again, with bit for bit the same weights (on a CPU).

    Args:
        space: The space.
        images: Training images uint8 `[n, h, w, c]`.
        labels: Their classes `[n]`.
        mean: Of every channel, for pixels in 0..1.
        std: Likewise.
        config: How to train.
        folder: For checkpoints.
        resume: Continue from the newest checkpoint there.
        on_step: Called after every step.
        on_compiled: Called with how many of how many networks have compiled their programs, before
            the first step; spaces of many resolutions compile as they go instead.

    Raises:
        TrainingError: if the loss stops being a number, or there are fewer images than a batch.
        CheckpointError: if a checkpoint there is damaged or of another space.
    """
    per_epoch = len(images) // config.batch_size
    if per_epoch == 0:
        raise TrainingError(f"batch_size (={config.batch_size}) must not exceed the {len(images)} training images.")
    steps, warm = config.epochs * per_epoch, config.warm_epochs * per_epoch
    update = Update(config, steps)
    params = init_params(space, config.seed)
    state, step = TrainState(params, update.optimiser.init(params)), 0
    checkpoints = Checkpoints(folder, space)
    if resume and checkpoints.latest is not None:
        restored, about = checkpoints.restore(state._asdict())
        if about["config"] != asdict(config):
            changed = next(k for k, v in asdict(config).items() if about["config"].get(k) != v)
            raise TrainingError(
                f"The checkpoint was trained with {changed}={about['config'].get(changed)!r}, now it is "
                f"{getattr(config, changed)!r}; use the same options, or another --out."
            )
        state, step = TrainState(**restored), about["step"]
    about = {"config": asdict(config)}
    if step < steps and len(space.spec.resolutions) <= _PREPARED:
        prepare(space, state.params, config.batch_size, on_compiled)
    saved, smooth = time.monotonic(), np.array([np.nan, np.nan])
    with interruptible() as interrupted:
        while step < steps:
            if interrupted():
                checkpoints.save(step, state._asdict(), {**about, "step": step})
                raise KeyboardInterrupt
            if step == warm > 0:
                state = _sorted(state, space)
            chosen = _batch(len(labels), per_epoch, step, config)
            genes, size = _subnets(space, step, warm, config)
            key = jax.random.fold_in(jax.random.key(config.seed), step)
            x = augment(images[chosen], mean, std, key, size=size, shift=config.shift, flip=config.flip)
            state, loss, accuracy = _step(update, state, x, labels[chosen], genes, key, space, config)
            if not np.isfinite(loss):
                raise TrainingError(
                    f"The loss is {loss} at step {step + 1}; train with a smaller --lr than {config.peak_lr:g}."
                )
            step += 1
            smooth = np.where(np.isnan(smooth), [loss, accuracy], 0.95 * smooth + 0.05 * np.array([loss, accuracy]))
            if step % per_epoch == 0:
                _record(folder / "metrics.csv", step // per_epoch, step, *smooth)
            if on_step:
                on_step(StepReport(step, steps, float(smooth[0]), float(smooth[1])))
            if time.monotonic() - saved > config.checkpoint_seconds and step < steps:
                checkpoints.save(step, state._asdict(), {**about, "step": step})
                saved = time.monotonic()
    if checkpoints.latest != steps:
        checkpoints.save(steps, state._asdict(), {**about, "step": steps})
    return state.params


def _step(
    update: Update,
    state: TrainState,
    images: Array,
    labels: np.ndarray,
    subnets: list[np.ndarray],
    key: Array,
    space: MBConvSpace,
    config: TrainConfig,
) -> tuple[TrainState, float, float]:
    """Gradients of all subnets summed, one update; loss and accuracy (percent) of the largest network."""
    classes, features = space.spec.num_classes, space.spec.feature_channels
    target = optax.smooth_labels(jax.nn.one_hot(labels, classes), config.label_smoothing)
    kept = jax.random.bernoulli(jax.random.fold_in(key, 1), 1 - config.dropout, (len(labels), features))
    dropout = kept / (1 - config.dropout)
    networks = [space.network(genes) for genes in subnets]
    largest = gradient(state.params, update.zeros(state.params), networks[0], images, target, dropout)
    teacher, all_kept, total = jax.nn.softmax(largest.logits), jnp.ones_like(dropout), largest.total
    for network in networks[1:]:
        total = gradient(state.params, total, network, images, teacher, all_kept).total
    accuracy = 100 * float((np.asarray(largest.logits).argmax(axis=1) == labels).mean())
    return update.run(state, total), float(largest.loss), accuracy


def _batch(n: int, per_epoch: int, step: int, config: TrainConfig) -> np.ndarray:
    """Indices of a step's images: a fresh order every epoch, the rest that fills no batch left out."""
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([config.seed, 0, epoch]).permutation(n)
    return order[place * config.batch_size : (place + 1) * config.batch_size]


def _subnets(space: MBConvSpace, step: int, warm: int, config: TrainConfig) -> tuple[list[np.ndarray], int]:
    """Genotypes of a step, the largest first, all of one resolution (drawn per batch), and that resolution."""
    rng = np.random.default_rng([config.seed, 1, step])
    largest = space.cardinality - 1
    rows = [largest]
    if step >= warm:
        rows += [np.zeros_like(largest), *space.sample(rng, config.random_subnets)]
    column = space.index["resolution"]
    resolution = int(rng.integers(space.cardinality[column]))
    X = np.array(rows)
    X[:, column] = resolution
    return list(space.canonical(X).astype(np.int32)), space.spec.resolutions[resolution]


def _sorted(state: TrainState, space: MBConvSpace) -> TrainState:
    """The state with hidden channels sorted by importance, momenta along with their weights."""
    orders = channel_order(state.params, space)

    def move(node: Any) -> Any:
        return permute(node, orders) if isinstance(node, dict) else node

    inner = jax.tree.map(move, state.optimiser, is_leaf=lambda node: isinstance(node, dict))
    return TrainState(move(state.params), inner)


def _record(path: Path, epoch: int, step: int, loss: float, accuracy: float) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["epoch", "step", "loss", "accuracy"])
        writer.writerow([epoch, step, f"{loss:.5f}", f"{accuracy:.3f}"])
