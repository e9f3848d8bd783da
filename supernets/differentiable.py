"""Differentiable search: ProxylessNAS (Cai et al., ICLR 2019) and FBNet (Wu et al., CVPR 2019)."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from search_spaces import Architecture, ChoiceSpace, Linear
from supernets.arch_steps import PROXYLESS, Search, Seen, through_mixture
from supernets.architecture import LatencyModel, Layers, softmax
from supernets.batches import Images, batches
from supernets.chain import gradient
from supernets.checkpoint import Checkpoints
from supernets.distribution import Distribution
from supernets.errors import TrainingError
from supernets.inherited import inherited
from supernets.inputs import Recipe, figures, make_batch
from supernets.interrupt import interruptible
from supernets.logs import EventFile
from supernets.mixed import mixture, plan
from supernets.params import Array, Params
from supernets.placement import Placement
from supernets.prepare_search import prepare_search
from supernets.reports import OnStep, StepReport
from supernets.rules import Batch
from supernets.search_config import SearchConfig
from supernets.search_schedule import events, weights_rate
from supernets.settle import check_reachable, drawn, most_probable, tilted
from supernets.shared import init_shared
from supernets.update import Update

_JUDGED = 8192  # images for networks drawn at the end


class Found(NamedTuple):
    """What a search ends with.

    Attributes:
        params: Weights of the supernet.
        alphas: Logits of every layer's candidates.
        expected_ms: The latency model's expectation.
        best: The most probable block of every layer; for "target" the most probable network of the latency, or the
            best of some drawn (`SearchConfig.drawn`).
    """

    params: Params
    alphas: Layers
    expected_ms: float
    best: Architecture

    def sample(self, rng: np.random.Generator, n: int) -> list[Architecture]:
        """Networks drawn from the distribution."""
        return [tuple(int(rng.choice(len(a), p=softmax(a))) for a in self.alphas) for _ in range(n)]


class Differentiable:
    """A search under way; every random choice is made from the seed and the step.

    Args:
        space: Of layer choices.
        images: Training images uint8 `[n, h, w, c]`, or pictures; a share of them trains the distribution only.
        labels: Their classes.
        mean: Of every channel, for pixels in 0..1.
        std: Likewise.
        config: How to search.
        latency: From a latency table.
        folder: For checkpoints and TensorBoard's events.
        devices: How many to divide batches over; one by default.
        workers: Processes that decode pictures; 0 for threads of this one.
    """

    def __init__(
        self,
        space: ChoiceSpace,
        images: Images,
        labels: np.ndarray,
        *,
        mean: np.ndarray,
        std: np.ndarray,
        config: SearchConfig,
        latency: LatencyModel,
        folder: Path,
        devices: int | None = None,
        workers: int = 0,
    ) -> None:
        if config.loss == "target":
            check_reachable(latency, config.reference_ms)
        self.space, self.config = space, config
        self.distribution = Distribution(config, space.cardinality)
        self.search = Search(space, plan(space), latency, config, self.distribution)
        weights = config.weights
        order = np.random.default_rng([weights.seed, 2]).permutation(len(images))
        held = round(config.arch_share * len(images))
        self.parts = {"weight": order[held:], "arch": order[:held]}
        if min(map(len, self.parts.values())) < weights.batch_size:
            raise TrainingError(
                f"batch_size (={weights.batch_size}) must not exceed either part of the {len(images)} images, "
                f"{len(order) - held} for weights and {held} for the distribution."
            )
        self.place = Placement(weights.batch_size, devices)
        about = {"batch_size": weights.batch_size, "seed": weights.seed, "place": self.place, "workers": workers}
        self.batches = {
            kind: batches(_some(images, rows), labels[rows], tag=10 + tag, **about)  # type: ignore[arg-type]
            for tag, (kind, rows) in enumerate(self.parts.items())
        }
        recipe = Recipe.of(weights, mean, std, crops=not isinstance(images, np.ndarray))
        self.recipes = {"weight": recipe, "arch": replace(recipe, label_smoothing=0.0)}
        self.events = events(config, *(len(self.parts[kind]) // weights.batch_size for kind in ("weight", "arch")))
        self.update = Update(weights, sum(e.kind == "weight" for e in self.events), weights_rate(config, self.events))
        self.state = self.place.everywhere(self.update.fresh(weights, init_shared(space, weights.seed)))
        self.step, self.smooth = 0, float("nan")
        self.folder, self.checkpoints = folder, Checkpoints(folder, space)

    def run(
        self,
        on_step: OnStep | None = None,
        on_compiled: Callable[[int, int], None] | None = None,
        on_judged: Callable[[int, int], None] | None = None,
    ) -> Found:
        """Searches to the end, from the newest checkpoint in the folder if there is one.

        Args:
            on_step: Called after every step, at the latest when the next one was started.
            on_compiled: Called with how many of how many blocks, then candidates, are compiled, before the first step.
            on_judged: Called with how many of how many networks that were drawn are judged, after the last one.

        Raises:
            TrainingError: if the loss stops being a number.
        """
        if self.checkpoints.latest is not None:
            self._resume()
        if self.step < len(self.events) and self.place.hosts == 1:  # several hosts compile as they go, in one order
            dtype = self.recipes["weight"].dtype
            prepare_search(self.search, self.state.params, self.place, dtype, on_compiled)
        try:
            self._run(on_step)
            if self.checkpoints.latest != len(self.events):
                self._save()
            return self._found(on_judged)
        finally:
            for source in self.batches.values():
                source.close()

    def _run(self, on_step: OnStep | None) -> None:
        saved, log = time.monotonic(), EventFile(self.folder, self.step)
        pending: list[tuple[int, Array, float]] = []  # a weight step is read when the next one is under way
        with interruptible() as interrupted:
            while self.step < len(self.events):
                if interrupted():
                    self._settle(pending, log, on_step)
                    self._save()
                    raise KeyboardInterrupt
                kind, epoch, index = self.events[self.step]
                rng = np.random.default_rng([self.config.weights.seed, 1, self.step])
                batch, labels = self._batch(kind, index, self.step)
                seen = Seen(batch.images, batch.target, labels, epoch, rng)
                loss, logits = self._weights(seen) if kind == "weight" else self._arch(seen)
                self.step += 1
                shown = figures(jnp.float32(loss), logits, labels, sharding=self.place.whole)
                self._settle(pending, log, on_step)
                pending.append((self.step, shown, self.expected_ms if kind == "arch" else float("nan")))
                if time.monotonic() - saved > self.config.weights.checkpoint_seconds:
                    self._settle(pending, log, on_step)
                    self._save()
                    saved = time.monotonic()
            self._settle(pending, log, on_step)
        log.close()

    def _batch(self, kind: str, index: int, step: int) -> tuple[Batch, Array]:
        raw, labels = self.batches[kind](index)
        batch = make_batch(
            raw,
            labels,
            np.uint32(step),
            recipe=self.recipes[kind],
            size=self.space.spec.image_size,
            classes=self.space.spec.num_classes,
            features=1,
            sharding=self.place.divided,
        )
        return batch, labels

    def _settle(self, pending: list[tuple[int, Array, float]], log: EventFile, on_step: OnStep | None) -> None:
        for step, seen, expected in pending:
            loss, accuracy = (float(x) for x in np.asarray(seen))
            if not np.isfinite(loss):
                raise TrainingError(f"The loss is {loss} at step {step}; train with a smaller --lr.")
            self.smooth = loss if np.isnan(self.smooth) else 0.95 * self.smooth + 0.05 * loss
            if not np.isnan(expected):
                log.scalars(step, {"loss": loss, "expected_ms": expected})
            if on_step:
                on_step(StepReport(step, len(self.events), self.smooth, accuracy, last=loss))
        pending.clear()

    def _found(self, on_judged: Callable[[int, int], None] | None) -> Found:
        alphas, latency, goal = self.distribution.alphas, self.search.latency, self.config.reference_ms
        if self.config.loss != "target":
            return Found(self.state.params, alphas, self.expected_ms, tuple(int(a.argmax()) for a in alphas))
        alphas = tilted(alphas, latency, goal)
        best = most_probable(alphas, latency, goal)
        if self.config.drawn:
            rng = np.random.default_rng([self.config.weights.seed, 4])
            archs = [best, *drawn(alphas, latency, goal, self.config.drawn, rng)]
            count = max(1, _JUDGED // self.config.weights.batch_size)
            seen = [self._batch("arch", i, i) for i in range(min(count, self.batches["arch"].per_epoch))]
            images = [(batch.images, labels) for batch, labels in seen]
            best = archs[int(inherited(self.state.params, self.search.plan, archs, images, on_judged).argmax())]
        return Found(self.state.params, alphas, goal, best)

    @property
    def expected_ms(self) -> float:
        """Expected latency of the distribution."""
        return self.search.latency.expected_ms(self.distribution.shares)

    # -- steps ---------------------------------------------------------------------------------

    def _weights(self, seen: Seen) -> tuple[Array | float, Array]:
        params, zeros, distribution = self.state.params, self.update.zeros(self.state.params), self.distribution
        if self.config.method == "proxyless":
            network = self.space.network(distribution.path(seen.rng))
            found = gradient(params, zeros, network, seen.images, seen.target, self._kept)
            self.state = self.update.run(self.state, found.total, 1.0)
            return found.loss, found.logits
        mixing = distribution.mixing(seen.epoch, seen.rng)
        factor, _ = self.search.product(0.0, self.search.latency.expected_ms(mixing))
        target = jnp.float32(factor) * seen.target
        mixed = mixture(params, zeros, self.search.plan, mixing, seen.images, target)
        self.state = self.update.run(self.state, mixed.total, 1.0)
        return mixed.loss, mixed.logits

    def _arch(self, seen: Seen) -> tuple[float, Array]:
        params = self.state.params
        if self.config.loss == "target":
            self.distribution.press(self.expected_ms)
        if self.config.method == "fbnet":
            return through_mixture(self.search, params, self.update.zeros(params), seen)
        return PROXYLESS[self.config.gradient](self.search, params, seen)

    @cached_property
    def _kept(self) -> Array:
        """Nothing is dropped before the classifier."""
        last = self.search.plan.head.operators[-1]
        assert isinstance(last, Linear)
        ones = np.ones((self.config.weights.batch_size, last.in_channels), np.float32)
        return self.place.batch(jnp.asarray(ones))

    # -- checkpoints ---------------------------------------------------------------------------

    def _save(self) -> None:
        about = {"config": asdict(self.config), "step": self.step, "smooth": self.smooth}
        self.checkpoints.save(self.step, self.state.saved(), about | self.distribution.saved())

    def _resume(self) -> None:
        saved, about = self.checkpoints.restore(self.state.saved())
        if about["config"] != asdict(self.config):
            changed = next(k for k, v in asdict(self.config).items() if about["config"].get(k) != v)
            raise TrainingError(f"The checkpoint was searched with another {changed}; use the same options or --out.")
        self.state = self.place.everywhere(self.state._replace(**saved))
        self.step, self.smooth = about["step"], about["smooth"]
        self.distribution.restore(about)


def _some(images: Images, rows: np.ndarray) -> Images:
    """Some images; pictures stay undecoded."""
    return images[rows] if isinstance(images, np.ndarray) else images.subset(rows)
