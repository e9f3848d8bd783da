"""Differentiable search: ProxylessNAS (Cai et al., ICLR 2019) and FBNet (Wu et al., CVPR 2019)."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from search_spaces import Architecture, ChoiceSpace
from supernets.architecture import (
    Adam,
    LatencyModel,
    Layers,
    added,
    gumbel_softmax,
    multiplied,
    rescaled,
    sample_pair,
    softmax,
    through_softmax,
)
from supernets.batches import Images, batches
from supernets.chain import forward, gradient
from supernets.checkpoint import Checkpoints
from supernets.errors import TrainingError
from supernets.inputs import Recipe, figures, make_batch
from supernets.interrupt import interruptible
from supernets.logs import EventFile
from supernets.mixed import gates, mixture, plan
from supernets.params import Array, Params
from supernets.placement import Placement
from supernets.search_config import SearchConfig
from supernets.shared import init_shared
from supernets.training import OnStep, StepReport
from supernets.update import Update

_PROXYLESS_ADAM = (0.0, 0.999)
_FBNET_ADAM = (0.9, 0.999)


class Found(NamedTuple):
    """What a search ends with: weights, logits of every layer's candidates, the latency model's expectation (ms)."""

    params: Params
    alphas: Layers
    expected_ms: float

    def best(self) -> Architecture:
        """The most probable block of every layer."""
        return tuple(int(alpha.argmax()) for alpha in self.alphas)

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
        self.space, self.config, self.latency, self.plan = space, config, latency, plan(space)
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
        self.events = self._events()
        self.update = Update(weights, sum(kind == "weight" for kind, _, _ in self.events), self._rate())
        self.adam = Adam(
            config.arch_rate, *(_PROXYLESS_ADAM if config.method == "proxyless" else _FBNET_ADAM), config.arch_decay
        )
        self.state = self.place.everywhere(self.update.fresh(weights, init_shared(space, weights.seed)))
        rng = np.random.default_rng([weights.seed, 3])
        self.alphas: Layers = [rng.normal(0, 1e-3, size=int(c)) for c in space.cardinality]
        self.m, self.v = [0 * a for a in self.alphas], [0 * a for a in self.alphas]
        self.step, self.updates, self.baseline = 0, 0, float("nan")
        self.smooth = float("nan")
        self.folder, self.checkpoints = folder, Checkpoints(folder, space)

    def _events(self) -> list[tuple[str, int, int]]:
        """(kind, epoch, how many of this kind before) of every step."""
        config, batch = self.config, self.config.weights.batch_size
        weights, archs = (len(self.parts[kind]) // batch for kind in ("weight", "arch"))
        events, warm, j = [], config.weights.warm_epochs, 0
        for epoch in range(config.weights.epochs):
            for i in range(weights):
                events.append(("weight", epoch, epoch * weights + i))
                # the distribution rests in the first epoch after the warm-up
                if config.method == "proxyless" and epoch > warm and (i + 1) % config.arch_every == 0:
                    events.append(("arch", epoch, j))
                    j += 1
            if config.method == "fbnet" and epoch >= warm:
                events += [("arch", epoch, j + i) for i in range(archs)]
                j += archs
        return events

    def _rate(self) -> optax.Schedule | None:
        """ProxylessNAS's rate: a cosine over the warm-up, another from half of it over the search."""
        config = self.config.weights
        warm = sum(kind == "weight" and epoch < config.warm_epochs for kind, epoch, _ in self.events)
        rest = sum(kind == "weight" for kind, _, _ in self.events) - warm
        if self.config.method != "proxyless" or not warm or not rest:
            return None
        halves = [optax.cosine_decay_schedule(config.peak_lr / part, n) for part, n in ((1, warm), (2, rest))]
        return optax.join_schedules(halves, [warm])

    def run(self, on_step: OnStep | None = None) -> Found:
        """Searches to the end, from the newest checkpoint in the folder if there is one.

        Raises:
            TrainingError: if the loss stops being a number.
        """
        if self.checkpoints.latest is not None:
            self._resume()
        try:
            self._run(on_step)
        finally:
            for source in self.batches.values():
                source.close()
        if self.checkpoints.latest != len(self.events):
            self._save()
        return Found(self.state.params, self.alphas, self.expected_ms)

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
                raw, labels = self.batches[kind](index)
                batch = make_batch(
                    raw,
                    labels,
                    np.uint32(self.step),
                    recipe=self.recipes[kind],
                    size=self.space.spec.image_size,
                    classes=self.space.spec.num_classes,
                    features=1,
                    sharding=self.place.divided,
                )
                steps: dict[str, Callable[..., tuple[Array | float, Array]]] = {
                    "weight": self._weights,
                    "arch": self._arch,
                }
                loss, logits = steps[kind](batch.images, batch.target, labels, epoch, rng)
                self.step += 1
                seen = figures(jnp.float32(loss), logits, labels, sharding=self.place.whole)
                self._settle(pending, log, on_step)
                pending.append((self.step, seen, self.expected_ms if kind == "arch" else float("nan")))
                if time.monotonic() - saved > self.config.weights.checkpoint_seconds:
                    self._settle(pending, log, on_step)
                    self._save()
                    saved = time.monotonic()
            self._settle(pending, log, on_step)
        log.close()

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

    @property
    def expected_ms(self) -> float:
        """Expected latency of the distribution."""
        return self.latency.expected_ms([softmax(a) for a in self.alphas])

    # -- steps ---------------------------------------------------------------------------------

    def _weights(
        self, images: Array, target: Array, labels: Array, epoch: int, rng: np.random.Generator
    ) -> tuple[Array | float, Array]:
        del labels
        params, zeros = self.state.params, self.update.zeros(self.state.params)
        if self.config.method == "proxyless":
            path = self._path(rng)
            found = gradient(params, zeros, self.space.network(path), images, target, self._kept)
            self.state = self.update.run(self.state, found.total, 1.0)
            return found.loss, found.logits
        mixing = self._mixing(epoch, rng)
        factor, _ = self._product(0.0, self.latency.expected_ms(mixing))
        mixed = mixture(params, zeros, self.plan, mixing, images, jnp.float32(factor) * target)
        self.state = self.update.run(self.state, mixed.total, 1.0)
        return mixed.loss, mixed.logits

    def _arch(
        self, images: Array, target: Array, labels: Array, epoch: int, rng: np.random.Generator
    ) -> tuple[float, Array]:
        params, config = self.state.params, self.config
        if config.method == "fbnet":
            mixing = self._mixing(epoch, rng)
            ms, heat = self.latency.expected_ms(mixing), self._temperature(epoch)
            mixed = mixture(params, self.update.zeros(params), self.plan, mixing, images, target)
            factor, slope = self._product(mixed.loss, ms)
            pairs = zip(mixing, mixed.mixing, self.latency.blocks_ms, strict=True)
            self._move([through_softmax(m, factor * g + slope * costs) / heat for m, g, costs in pairs])
            return factor * mixed.loss, mixed.logits
        if config.gradient == "reinforce":
            return self._reinforce(images, target, labels, rng)
        if config.gradient == "two":
            return self._two_paths(images, target, rng)
        path = self._path(rng)
        shares = [softmax(a) for a in self.alphas]
        found = gates(params, self.plan, path, [range(len(a)) for a in self.alphas], images, target)
        value, factor, slope = self._with_latency(found.loss, self.latency.expected_ms(shares))
        parts = zip(shares, found.gradient, self.latency.blocks_ms, strict=True)
        self._move([through_softmax(p, factor * g + slope * costs) for p, g, costs in parts])
        return value, found.logits

    def _two_paths(self, images: Array, target: Array, rng: np.random.Generator) -> tuple[float, Array]:
        """Two sampled candidates a layer; an active skip leaves its layer as it is."""
        pairs = [sample_pair(a, rng) for a in self.alphas]
        path = [pair.active for pair in pairs]
        found = gates(self.state.params, self.plan, path, [(p.a, p.b) for p in pairs], images, target)
        shares, gradients = [], []
        for alpha, pair in zip(self.alphas, pairs, strict=True):
            share = np.zeros_like(alpha)
            share[[pair.a, pair.b]] = softmax(alpha[[pair.a, pair.b]])
            shares.append(share)
        value, factor, slope = self._with_latency(found.loss, self.latency.expected_ms(shares))
        for i, (pair, share) in enumerate(zip(pairs, shares, strict=True)):
            two, own = [pair.a, pair.b], np.zeros_like(share)
            if self.plan.layers[i][pair.active] is not None:
                g = factor * found.gradient[i] + slope * self.latency.blocks_ms[i]
                own[two] = through_softmax(share[two], g[two])
            gradients.append(own)
        old = self.alphas
        idle = [self.plan.layers[i][pair.active] is None for i, pair in enumerate(pairs)]
        self._move(gradients)
        moved = zip(old, self.alphas, pairs, idle, strict=True)
        self.alphas = [a if rests else rescaled(a, b, pair) for a, b, pair, rests in moved]
        return value, found.logits

    def _reinforce(self, images: Array, target: Array, labels: Array, rng: np.random.Generator) -> tuple[float, Array]:
        """R = accuracy (reference / latency)^power; the baseline takes 0.99 of each new mean."""
        del target
        config, paths, rewards = self.config, [], []
        for _ in range(config.reinforce_batch):
            path = self._path(rng)
            logits = forward(self.state.params, self.space.network(path), images)
            accuracy = float((logits.argmax(axis=1) == labels).mean())
            paths.append(path)
            rewards.append(accuracy * (config.reference_ms / self.latency.of(path)) ** config.reinforce_power)
        mean = float(np.mean(rewards))
        self.baseline = mean if np.isnan(self.baseline) else self.baseline + 0.99 * (mean - self.baseline)
        gradients = [np.zeros_like(a) for a in self.alphas]
        for path, reward in zip(paths, rewards, strict=True):
            for i, k in enumerate(path):  # of -(R - baseline) log p(path)
                gradients[i] += (reward - self.baseline) * (softmax(self.alphas[i]) - np.eye(len(gradients[i]))[k])
        self._move([g / len(paths) for g in gradients])
        return -mean, logits

    # -- parts ---------------------------------------------------------------------------------

    @cached_property
    def _kept(self) -> Array:
        """Nothing is dropped before the classifier."""
        ones = np.ones((self.config.weights.batch_size, self.plan.head.operators[-1].in_channels), np.float32)  # type: ignore[attr-defined]
        return self.place.batch(jnp.asarray(ones))

    def _path(self, rng: np.random.Generator) -> Architecture:
        return tuple(int(rng.choice(len(a), p=softmax(a))) for a in self.alphas)

    def _temperature(self, epoch: int) -> float:
        return self.config.temperature * float(np.exp(-self.config.cooling * epoch))

    def _mixing(self, epoch: int, rng: np.random.Generator) -> Layers:
        return [gumbel_softmax(a, self._temperature(epoch), rng) for a in self.alphas]

    def _product(self, loss: float, ms: float) -> tuple[float, float]:
        return multiplied(loss, ms, alpha=self.config.alpha, beta=self.config.beta, reference_ms=None)

    def _with_latency(self, loss: float, ms: float) -> tuple[float, float, float]:
        """The whole loss; the factor of the cross entropy's gradient; the slope by latency, per ms."""
        config = self.config
        if config.loss == "add":
            term, slope = added(ms, weight=config.latency_weight, reference_ms=config.reference_ms)
            return loss + term, 1.0, slope
        factor, slope = multiplied(loss, ms, alpha=config.alpha, beta=config.beta, reference_ms=config.reference_ms)
        return factor * loss, factor, slope

    def _move(self, gradients: Layers) -> None:
        self.updates += 1
        parts = zip(self.alphas, gradients, self.m, self.v, strict=True)
        moved = [self.adam(a, g, m, v, self.updates) for a, g, m, v in parts]
        self.alphas, self.m, self.v = ([part[i] for part in moved] for i in range(3))

    def _save(self) -> None:
        numbers = {name: [a.tolist() for a in getattr(self, name)] for name in ("alphas", "m", "v")}
        about: dict[str, Any] = {
            "config": asdict(self.config),
            "step": self.step,
            "updates": self.updates,
            "baseline": self.baseline,
            "smooth": self.smooth,
        }
        self.checkpoints.save(self.step, self.state.saved(), about | numbers)

    def _resume(self) -> None:
        saved, about = self.checkpoints.restore(self.state.saved())
        if about["config"] != asdict(self.config):
            changed = next(k for k, v in asdict(self.config).items() if about["config"].get(k) != v)
            raise TrainingError(f"The checkpoint was searched with another {changed}; use the same options or --out.")
        self.state = self.place.everywhere(self.state._replace(**saved))
        for name in ("step", "updates", "baseline", "smooth"):
            setattr(self, name, about.get(name, float("nan")))
        for name in ("alphas", "m", "v"):
            setattr(self, name, [np.array(a) for a in about[name]])


def _some(images: Images, rows: np.ndarray) -> Images:
    """Some images; pictures stay undecoded."""
    return images[rows] if isinstance(images, np.ndarray) else images.subset(rows)
