"""Training a supernet, or one network: the loop that all rules share."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from search_spaces import MBConvSpace, Network, Space
from supernets import rules
from supernets.augment import mix, randaugment
from supernets.chain import forward, prepare
from supernets.checkpoint import Checkpoints
from supernets.config import TrainConfig
from supernets.draws import Draws
from supernets.errors import TrainingError
from supernets.guard import Guard
from supernets.images import augment
from supernets.interrupt import interruptible
from supernets.logs import EventFile, record
from supernets.params import Array, Params
from supernets.placement import Placement
from supernets.rules import Batch, Draw
from supernets.update import TrainState, Update, copy

_PREPARED = 4  # resolutions; more would keep a person waiting for the first step

OnStep = Callable[["StepReport"], None]


class StepReport(NamedTuple):
    """A step as progress shows it: loss and training accuracy (percent) of its first network, smoothed.

    `note` says what a person should know, such as that the training went back.
    """

    step: int
    steps: int
    loss: float
    accuracy: float
    note: str = ""


class Setting(NamedTuple):
    """What does not change during a training: the space, the images, how to train."""

    space: Space
    images: np.ndarray
    labels: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    config: TrainConfig
    placement: Placement

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return len(self.images) // self.config.batch_size

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.config.epochs * self.per_epoch


def train(
    space: Space,
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
    start: Params | None = None,
    teacher: tuple[Params, Network] | None = None,
    devices: int | None = None,
) -> Params:
    """Trains the supernet of a space and leaves checkpoints, `metrics.csv` and TensorBoard's events in a folder.

    Every random choice is made from the seed and the step, so that a training that was killed
    ends, when called again, with bit for bit the same weights (on a CPU). When the loss stops being
    a number, or falls back to that of guessing, the training goes back to the last epoch's end,
    or to where it was resumed, at half the rate (`supernets.guard`).

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
        start: Weights to start from instead of fresh ones, e.g. of a supernet.
        teacher: Weights and network that teach beside the labels.
        devices: How many to divide batches over; one by default.

    Returns:
        The trained weights; their average where `config.ema` asks for one.

    Raises:
        TrainingError: if the loss stops being a number again and again, or there are fewer images than a batch.
        CheckpointError: if a checkpoint there is damaged or of another space.
    """
    if len(images) < config.batch_size:
        raise TrainingError(f"batch_size (={config.batch_size}) must not exceed the {len(images)} training images.")
    setting = Setting(space, images, labels, mean, std, config, Placement(config.batch_size, devices or 1))
    return _Training(setting, folder, start, teacher).run(resume, on_step, on_compiled)


class _Training:
    """A training under way."""

    def __init__(
        self, setting: Setting, folder: Path, start: Params | None, teacher: tuple[Params, Network] | None
    ) -> None:
        self.setting, self.folder = setting, folder
        self.teacher = teacher
        self.update = Update(setting.config, setting.steps)
        taught, per_epoch = teacher is not None, setting.per_epoch
        self.draws = Draws(
            space=setting.space, config=setting.config, steps=setting.steps, per_epoch=per_epoch, taught=taught
        )
        place = setting.placement.everywhere
        params = start if start is not None else self.draws.init()
        self.state = place(self.update.fresh(setting.config, params))
        self.step, self.guard = 0, Guard()
        self.accuracy = float("nan")
        self.good: tuple[int, TrainState, Guard] | None = None
        self.checkpoints = Checkpoints(folder, setting.space)

    def run(self, resume: bool, on_step: OnStep | None, on_compiled: Callable[[int, int], None] | None) -> Params:
        setting, config = self.setting, self.setting.config
        if resume and self.checkpoints.latest is not None:
            self._resume()
        space = setting.space
        if self.step < setting.steps and isinstance(space, MBConvSpace) and config.method != "scratch":
            if len(space.spec.resolutions) <= _PREPARED:
                place = setting.placement
                dtype = jnp.bfloat16 if config.precision == "bf16" else jnp.float32
                prepare(space, self.state.params, config.batch_size, on_compiled, place=place.batch, dtype=dtype)
        saved = time.monotonic()
        events = EventFile(self.folder) if self.step < setting.steps else None
        with interruptible() as interrupted:
            while self.step < setting.steps:
                if interrupted():
                    self._save()
                    raise KeyboardInterrupt
                note = self._step()
                if self.step % setting.per_epoch == 0 and events and not note:
                    self._epoch_ends(events)
                if on_step:
                    smooth = self.guard.smooth if self.guard.smooth is not None else float("nan")
                    on_step(StepReport(self.step, setting.steps, smooth, self.accuracy, note))
                if time.monotonic() - saved > config.checkpoint_seconds and self.step < setting.steps:
                    self._save()
                    saved = time.monotonic()
        if events:
            events.close()
        if self.checkpoints.latest != setting.steps:
            self._save()
        return self.state.average or self.state.params

    def _step(self) -> str:
        """One step, or a step back; returns what is to be said."""
        config = self.setting.config
        if self.good is None:
            self.good = (self.step, copy(self.state), self.guard)
        self.state = self.draws.before(self.step, self.state)
        key = jax.random.fold_in(jax.random.key(config.seed), self.step)
        batch, labels = self._batch(key)
        draws = self.draws.of_step(self.step, self.state, batch)
        batch = batch._replace(teacher=self._teach(batch, draws))
        zeros = self.update.zeros(self.state.params)
        summed = rules.summed_gradient(self.state.params, zeros, draws, batch, config)
        accuracy = 100 * float((np.asarray(summed.logits).argmax(axis=1) == labels).mean())
        self.state, loss = self.update.run(self.state, summed.total, self.guard.rate), float(summed.loss)
        after = self.guard.seen(loss, self.draws.classes) if np.isfinite(loss) else self.guard
        if not np.isfinite(loss) or after.collapsed:
            reason = f"The loss is {loss}" if not np.isfinite(loss) else "The network only guesses since a while"
            back, state, guard = self.good
            halved = self.guard.halved(f"{reason} at step {self.step + 1}", config.peak_lr)
            self.step, self.state, self.guard = back, copy(state), halved
            return f"{reason}; back to step {back} at {halved.rate:g} of the rate"
        self.guard, self.step = after, self.step + 1
        self.accuracy = accuracy if np.isnan(self.accuracy) else 0.95 * self.accuracy + 0.05 * accuracy
        return ""

    def _batch(self, key: Array) -> tuple[Batch, np.ndarray]:
        """Augmented images of the step's resolution, their smoothed classes; and the labels."""
        setting, config, place = self.setting, self.setting.config, self.setting.placement
        size = self.draws.size(self.step)
        chosen = _batch(len(setting.labels), setting.per_epoch, self.step, config)
        raw, labels = place.batch(setting.images[chosen]), setting.labels[chosen]
        if config.randaugment:
            raw = randaugment(raw, jax.random.fold_in(key, 2), config.randaugment)
        x = augment(raw, setting.mean, setting.std, key, size=size, shift=config.shift, flip=config.flip)
        target = optax.smooth_labels(place.batch(jax.nn.one_hot(labels, self.draws.classes)), config.label_smoothing)
        if config.mixup or config.cutmix:
            x, target = mix(x, target, jax.random.fold_in(key, 3), mixup=config.mixup, cutmix=config.cutmix)
        shape = (len(labels), self.draws.features)
        kept = jax.random.bernoulli(jax.random.fold_in(key, 1), 1 - config.dropout, shape)
        dropout = place.batch(kept / (1 - config.dropout))
        return Batch(x.astype(jnp.bfloat16) if config.precision == "bf16" else x, target, dropout), labels

    def _teach(self, batch: Batch, draws: list[Draw]) -> Array | None:
        """Logits of the fixed teacher, if the step has one: of the given one, or of the full network of before."""
        if all(drawn.source != "teacher" for drawn in draws):
            return None
        if self.teacher is not None:
            params, network = self.teacher
            return forward(params, network, batch.images)
        return forward(self.state.teacher, self.draws.largest(batch.images.shape[1]), batch.images)

    def _epoch_ends(self, events: EventFile) -> None:
        epoch, loss = self.step // self.setting.per_epoch, self.guard.smooth or 0.0
        row = {"epoch": epoch, "step": self.step, "loss": f"{loss:.5f}", "accuracy": f"{self.accuracy:.3f}"}
        record(self.folder / "metrics.csv", row)
        events.scalars(self.step, {"loss": loss, "accuracy": self.accuracy, "rate": self.guard.rate})
        self.good = (self.step, copy(self.state), self.guard)

    def _save(self) -> None:
        about = {
            "config": asdict(self.setting.config),
            "step": self.step,
            "guard": asdict(self.guard),
            "accuracy": self.accuracy,
        }
        self.checkpoints.save(self.step, self.state.saved(), about)

    def _resume(self) -> None:
        config = self.setting.config
        step = self.checkpoints.latest or 0
        self.state = self.draws.with_teacher(self.state) if self.draws.has_teacher(step) else self.state
        like = self.state.saved()
        saved, about = self.checkpoints.restore(like)
        found = asdict(TrainConfig()) | about["config"]  # an option that is newer than the checkpoint had its default
        if found != asdict(config):
            changed = next(k for k, v in asdict(config).items() if found.get(k) != v)
            raise TrainingError(
                f"The checkpoint was trained with {changed}={found.get(changed)!r}, now it is "
                f"{getattr(config, changed)!r}; use the same options, or another --out."
            )
        self.state = self.setting.placement.everywhere(self.state._replace(**saved))
        self.step, self.accuracy = about["step"], about["accuracy"]
        self.guard = Guard(**about["guard"])


def _batch(n: int, per_epoch: int, step: int, config: TrainConfig) -> np.ndarray:
    """Indices of a step's images: a fresh order every epoch, the rest that fills no batch left out."""
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([config.seed, 0, epoch]).permutation(n)
    return order[place * config.batch_size : (place + 1) * config.batch_size]
