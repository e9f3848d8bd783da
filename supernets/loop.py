"""The loop of a training: steps handed to the devices, what they found read behind them, checkpoints, going back."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from search_spaces import Network, Space
from supernets import rules
from supernets.batches import Batches
from supernets.chain import forward
from supernets.checkpoint import Checkpoints
from supernets.config import TrainConfig
from supernets.draws import Draws
from supernets.errors import TrainingError
from supernets.groups import Groups
from supernets.guard import Guard
from supernets.inputs import Recipe, figures, make_batch
from supernets.interrupt import interruptible
from supernets.logs import EventFile, forget_after, record
from supernets.params import Array, Params
from supernets.placement import Placement
from supernets.prepare import few_programs, prepare, uniform_networks
from supernets.program_files import ProgramFiles
from supernets.reports import OnStep, StepReport
from supernets.rules import Batch, Draw
from supernets.update import TrainState, Update, copy

_AHEAD = 1  # steps whose loss is read only when the next one is under way, so that the device never waits for the host


class Setting(NamedTuple):
    """What does not change during a training: the space, the batches, how to train."""

    space: Space
    batches: Batches
    recipe: Recipe
    config: TrainConfig
    placement: Placement
    groups: Groups
    files: ProgramFiles | None

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.batches.per_epoch

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.config.epochs * self.per_epoch

    @property
    def masked(self) -> bool:
        """Whether one program serves all widths of a block."""
        return self.space.free_widths and self.config.method != "scratch"


class Training:
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
        # steps consume the state; what was given stays the caller's
        params = jax.tree.map(jnp.copy, start) if start is not None else self.draws.init()
        self.state = place(self.update.fresh(setting.config, params))
        if teacher is not None:
            self.teacher = place(teacher[0]), teacher[1]
        self.step, self.guard = 0, Guard()
        self.accuracy = float("nan")
        self.pending: deque[tuple[int, list[Array]]] = deque()  # steps whose figures are not read yet
        self.good: tuple[int, TrainState, Guard] | None = None
        self.events: EventFile | None = None
        self.checkpoints = Checkpoints(folder, setting.space)

    def run(self, resume: bool, on_step: OnStep | None, on_compiled: Callable[[int, int], None] | None) -> Params:
        setting, config, place = self.setting, self.setting.config, self.setting.placement
        if resume and self.checkpoints.latest is not None:
            self._resume()
        if self.step < setting.steps:
            self._prepare(on_compiled)
            if place.host == 0:
                forget_after(self.folder / "metrics.csv", self.step)
                self.events = EventFile(self.folder, self.step)
        saved = time.monotonic()
        with interruptible() as interrupted:
            while self.step < setting.steps:
                if place.agreed(self.step, interrupted()):
                    self._settle(0, on_step)
                    self._save()
                    raise KeyboardInterrupt
                self._start_step()
                border = self.step % setting.per_epoch == 0
                due = time.monotonic() - saved > config.checkpoint_seconds and self.step < setting.steps
                due = place.agreed(self.step, due)
                noted = self._settle(0 if border or due else _AHEAD, on_step)
                if due and not noted:
                    self._save()
                    saved = time.monotonic()
        if self.events:
            self.events.close()
        if self.checkpoints.latest != setting.steps:
            self._save()
        return self.state.average or self.state.params

    def _prepare(self, on_compiled: Callable[[int, int], None] | None) -> None:
        """Compiles a small space's programs together; hosts whose programs exchange sums as they go, in one order."""
        setting, space = self.setting, self.setting.space
        config, place = setting.config, setting.placement
        if config.method == "scratch":
            networks = [space.network(space.parse(config.arch))]
        elif few_programs(space):
            networks = uniform_networks(space)
        else:
            return
        if place.hosts == 1 or setting.groups.mesh:
            prepare(
                networks,
                self.state.params,
                config.batch_size // setting.groups.parts,
                on_compiled,
                place=place,
                groups=setting.groups,
                dtype=setting.recipe.dtype,
                files=setting.files,
                masked=setting.masked,
            )

    def _start_step(self) -> None:
        """Hands a step to the devices; nothing here waits for them."""
        setting, draws = self.setting, self.draws
        if self.good is None:
            self.good = (self.step, copy(self.state), self.guard)
        self.state = draws.before(self.step, self.state)
        images, labels = setting.batches(self.step)
        batch = make_batch(
            images,
            labels,
            np.uint32(self.step),
            recipe=setting.recipe,
            size=draws.size(self.step),
            classes=draws.classes,
            features=draws.features,
            sharding=setting.placement.divided,
        )
        networks = draws.of_step(self.step, self.state, batch)
        groups, seen = setting.groups, []
        total = groups.zeros(self.state.params)
        for part, its_labels in groups.of((batch, labels)):
            given = part._replace(teacher=self._teach(part, networks))
            summed = rules.summed_gradient(
                self.state.params, total, networks, given, setting.config, setting.files, groups.mesh, setting.masked
            )
            total = summed.total
            seen.append(figures(summed.loss, summed.logits, its_labels, sharding=setting.placement.whole))
        self.state = self.update.run(self.state, groups.mean(total), self.guard.rate)
        self.step += 1
        self.pending.append((self.step, seen))

    def _settle(self, ahead: int, on_step: OnStep | None) -> bool:
        """Reads the figures of all steps but the newest `ahead`; whether one of them sent the training back."""
        while len(self.pending) > ahead:
            step, seen = self.pending.popleft()
            loss, accuracy = (float(x) for x in np.mean([np.asarray(one) for one in seen], axis=0))
            after = self.guard.seen(loss, self.draws.classes) if np.isfinite(loss) else self.guard
            note = ""
            if not np.isfinite(loss) or after.collapsed:
                note = self._go_back(step, loss)
            else:
                self.guard = after
                self.accuracy = accuracy if np.isnan(self.accuracy) else 0.95 * self.accuracy + 0.05 * accuracy
                if step % self.setting.per_epoch == 0:
                    self._epoch_ends()
            if on_step:
                smooth = self.guard.smooth if self.guard.smooth is not None else float("nan")
                on_step(StepReport(self.step if note else step, self.setting.steps, smooth, self.accuracy, note, loss))
            if note:
                return True
        return False

    def _go_back(self, step: int, loss: float) -> str:
        """Back to the last good state at half the rate; what is to be said of it."""
        assert self.good is not None
        reason = f"The loss is {loss}" if not np.isfinite(loss) else "The network only guesses since a while"
        back, state, guard = self.good
        halved = self.guard.halved(f"{reason} at step {step}", self.setting.config.peak_lr)
        self.pending.clear()
        self.step, self.state, self.guard = back, copy(state), halved
        return f"{reason} at step {step}; back to step {back} at {halved.rate:g} of the rate"

    def _teach(self, batch: Batch, draws: list[Draw]) -> Array | None:
        """Logits of the fixed teacher, if the step has one: of the given one, or of the full network of before."""
        if all(drawn.source != "teacher" for drawn in draws):
            return None
        if self.teacher is not None:
            params, network = self.teacher
        else:
            params, network = self.state.teacher, self.draws.largest(batch.images.shape[1])
        return forward(params, network, batch.images, mesh=self.setting.groups.mesh)

    def _epoch_ends(self) -> None:
        epoch, loss = self.step // self.setting.per_epoch, self.guard.smooth or 0.0
        if self.events:
            row = {"epoch": epoch, "step": self.step, "loss": f"{loss:.5f}", "accuracy": f"{self.accuracy:.3f}"}
            record(self.folder / "metrics.csv", row)
            self.events.scalars(self.step, {"loss": loss, "accuracy": self.accuracy, "rate": self.guard.rate})
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
        found["checkpoint_seconds"] = config.checkpoint_seconds  # changes nothing of what is trained
        if found != asdict(config):
            changed = next(k for k, v in asdict(config).items() if found.get(k) != v)
            raise TrainingError(
                f"The checkpoint was trained with {changed}={found.get(changed)!r}, now it is "
                f"{getattr(config, changed)!r}; use the same options, or another --out."
            )
        self.state = self.setting.placement.everywhere(self.state._replace(**saved))
        self.step, self.accuracy = about["step"], about["accuracy"]
        self.guard = Guard(**about["guard"])
