"""Differentiable search: ProxylessNAS (Cai et al., ICLR 2019) and FBNet (Wu et al., CVPR 2019)."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
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
from supernets.chain import forward, gradient
from supernets.checkpoint import Checkpoints
from supernets.errors import TrainingError
from supernets.images import augment
from supernets.interrupt import interruptible
from supernets.logs import EventFile
from supernets.mixed import gates, mixture, plan
from supernets.params import Array, Params
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
        images: Training images uint8 `[n, h, w, c]`; a share of them trains the distribution only.
        labels: Their classes.
        mean: Of every channel, for pixels in 0..1.
        std: Likewise.
        config: How to search.
        latency: From a latency table.
        folder: For checkpoints and TensorBoard's events.
    """

    def __init__(
        self,
        space: ChoiceSpace,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        mean: np.ndarray,
        std: np.ndarray,
        config: SearchConfig,
        latency: LatencyModel,
        folder: Path,
    ) -> None:
        self.space, self.config, self.latency, self.plan = space, config, latency, plan(space)
        self.mean, self.std, self.images, self.labels = mean, std, images, labels
        order = np.random.default_rng([config.weights.seed, 2]).permutation(len(images))
        held = round(config.arch_share * len(images))
        self.parts = {"weight": order[held:], "arch": order[:held]}
        if min(map(len, self.parts.values())) < config.weights.batch_size:
            raise TrainingError(
                f"batch_size (={config.weights.batch_size}) must not exceed either part of the {len(images)} images, "
                f"{len(order) - held} for weights and {held} for the distribution."
            )
        self.events = self._events()
        self.update = Update(config.weights, sum(kind == "weight" for kind, _, _ in self.events))
        self.adam = Adam(
            config.arch_rate, *(_PROXYLESS_ADAM if config.method == "proxyless" else _FBNET_ADAM), config.arch_decay
        )
        self.state = self.update.fresh(config.weights, init_shared(space, config.weights.seed))
        rng = np.random.default_rng([config.weights.seed, 3])
        self.alphas: Layers = [rng.normal(0, 1e-3, size=int(c)) for c in space.cardinality]
        self.m, self.v = [0 * a for a in self.alphas], [0 * a for a in self.alphas]
        self.step, self.updates, self.baseline = 0, 0, 0.0
        self.folder, self.checkpoints = folder, Checkpoints(folder, space)

    def _events(self) -> list[tuple[str, int, int]]:
        """(kind, epoch, batch of its part) of every step."""
        config, batch = self.config, self.config.weights.batch_size
        weights, archs = (len(self.parts[kind]) // batch for kind in ("weight", "arch"))
        events, warm, j = [], config.weights.warm_epochs, 0
        for epoch in range(config.weights.epochs):
            for i in range(weights):
                events.append(("weight", epoch, i))
                # the distribution rests in the first epoch after the warm-up
                if config.method == "proxyless" and epoch > warm and (i + 1) % config.arch_every == 0:
                    events.append(("arch", epoch, j % archs))
                    j += 1
            if config.method == "fbnet" and epoch >= warm:
                events += [("arch", epoch, i) for i in range(archs)]
        return events

    def run(self, on_step: OnStep | None = None) -> Found:
        """Searches to the end, from the newest checkpoint in the folder if there is one.

        Raises:
            TrainingError: if the loss stops being a number.
        """
        if self.checkpoints.latest is not None:
            self._resume()
        saved, smooth, log = time.monotonic(), float("nan"), EventFile(self.folder)
        with interruptible() as interrupted:
            while self.step < len(self.events):
                if interrupted():
                    self._save()
                    raise KeyboardInterrupt
                kind, epoch, index = self.events[self.step]
                rng = np.random.default_rng([self.config.weights.seed, 1, self.step])
                images, target, labels = self._batch(kind, epoch, index)
                steps: dict[str, Callable[..., tuple[float, Array]]] = {"weight": self._weights, "arch": self._arch}
                loss, logits = steps[kind](images, target, labels, epoch, rng)
                if not np.isfinite(loss):
                    raise TrainingError(f"The loss is {loss} at step {self.step + 1}; train with a smaller --lr.")
                self.step += 1
                smooth = loss if np.isnan(smooth) else 0.95 * smooth + 0.05 * loss
                accuracy = 100 * float((np.asarray(logits).argmax(axis=1) == labels).mean())
                if kind == "arch":
                    log.scalars(self.step, {"loss": loss, "expected_ms": self.expected_ms})
                if on_step:
                    on_step(StepReport(self.step, len(self.events), smooth, accuracy))
                if time.monotonic() - saved > self.config.weights.checkpoint_seconds:
                    self._save()
                    saved = time.monotonic()
        log.close()
        if self.checkpoints.latest != len(self.events):
            self._save()
        return Found(self.state.params, self.alphas, self.expected_ms)

    @property
    def expected_ms(self) -> float:
        """Expected latency of the distribution."""
        return self.latency.expected_ms([softmax(a) for a in self.alphas])

    # -- steps ---------------------------------------------------------------------------------

    def _weights(
        self, images: Array, target: Array, labels: np.ndarray, epoch: int, rng: np.random.Generator
    ) -> tuple[float, Array]:
        del labels
        params, zeros = self.state.params, self.update.zeros(self.state.params)
        if self.config.method == "proxyless":
            path = self._path(rng)
            ones = jnp.ones((len(images), self.plan.head.operators[-1].in_channels))  # type: ignore[attr-defined]
            found = gradient(params, zeros, self.space.network(path), images, target, ones)
            self.state = self.update.run(self.state, found.total, 1.0)
            return float(found.loss), found.logits
        mixing = self._mixing(epoch, rng)
        factor, _ = self._product(0.0, self.latency.expected_ms(mixing))
        mixed = mixture(params, zeros, self.plan, mixing, images, factor * target)
        self.state = self.update.run(self.state, mixed.total, 1.0)
        return mixed.loss, mixed.logits

    def _arch(
        self, images: Array, target: Array, labels: np.ndarray, epoch: int, rng: np.random.Generator
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

    def _reinforce(
        self, images: Array, target: Array, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[float, Array]:
        """R = accuracy (reference / latency)^power; the baseline takes 0.99 of each new mean."""
        del target
        config, paths, rewards = self.config, [], []
        for _ in range(config.reinforce_batch):
            path = self._path(rng)
            logits = forward(self.state.params, self.space.network(path), images)
            accuracy = float((np.asarray(logits).argmax(axis=1) == labels).mean())
            paths.append(path)
            rewards.append(accuracy * (config.reference_ms / self.latency.of(path)) ** config.reinforce_power)
        self.baseline += 0.99 * (float(np.mean(rewards)) - self.baseline)
        gradients = [np.zeros_like(a) for a in self.alphas]
        for path, reward in zip(paths, rewards, strict=True):
            for i, k in enumerate(path):  # of -(R - baseline) log p(path)
                gradients[i] += (reward - self.baseline) * (softmax(self.alphas[i]) - np.eye(len(gradients[i]))[k])
        self._move([g / len(paths) for g in gradients])
        return float(-np.mean(rewards)), logits

    # -- parts ---------------------------------------------------------------------------------

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

    def _batch(self, kind: str, epoch: int, index: int) -> tuple[Array, Array, np.ndarray]:
        config, part = self.config.weights, self.parts[kind]
        order = np.random.default_rng([config.seed, 0 if kind == "weight" else 4, epoch]).permutation(part)
        chosen = order[index * config.batch_size : (index + 1) * config.batch_size]
        key = jax.random.fold_in(jax.random.key(config.seed), self.step)
        size, labels = self.space.spec.image_size, self.labels[chosen]
        x = augment(self.images[chosen], self.mean, self.std, key, size=size, shift=config.shift, flip=config.flip)
        target = jax.nn.one_hot(labels, self.space.spec.num_classes)
        if kind == "weight":
            target = optax.smooth_labels(target, config.label_smoothing)
        return x.astype(jnp.bfloat16) if config.precision == "bf16" else x, target, labels

    def _save(self) -> None:
        numbers = {name: [a.tolist() for a in getattr(self, name)] for name in ("alphas", "m", "v")}
        about: dict[str, Any] = {
            "config": asdict(self.config),
            "step": self.step,
            "updates": self.updates,
            "baseline": self.baseline,
        }
        self.checkpoints.save(self.step, self.state.saved(), about | numbers)

    def _resume(self) -> None:
        saved, about = self.checkpoints.restore(self.state.saved())
        if about["config"] != asdict(self.config):
            changed = next(k for k, v in asdict(self.config).items() if about["config"].get(k) != v)
            raise TrainingError(f"The checkpoint was searched with another {changed}; use the same options or --out.")
        self.state = self.state._replace(**saved)
        for name in ("step", "updates", "baseline"):
            setattr(self, name, about[name])
        for name in ("alphas", "m", "v"):
            setattr(self, name, [np.array(a) for a in about[name]])
