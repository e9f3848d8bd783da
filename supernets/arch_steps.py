"""Steps of a distribution over networks: ProxylessNAS's three gradients, and FBNet's through a mixture."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from search_spaces import ChoiceSpace
from supernets.architecture import LatencyModel, Layers, added, aimed, multiplied, rescaled, sample_pair, softmax
from supernets.architecture import through_softmax as through
from supernets.chain import forward
from supernets.distribution import Distribution
from supernets.mixed import Plan, mixture, read
from supernets.params import Array, Params
from supernets.path_gates import gates
from supernets.search_config import SearchConfig


class Search(NamedTuple):
    """What all steps of a search share."""

    space: ChoiceSpace
    plan: Plan
    latency: LatencyModel
    config: SearchConfig
    distribution: Distribution

    def product(self, loss: float, ms: float) -> tuple[float, float]:
        """FBNet's loss with the latency: the factor of the loss, and the slope per ms."""
        config = self.config
        if config.loss == "target":
            return 1.0, self._aimed(ms)[1]
        return multiplied(loss, ms, alpha=config.alpha, beta=config.beta, reference_ms=None)

    def with_latency(self, loss: float, ms: float) -> tuple[float, float, float]:
        """ProxylessNAS's whole loss; the factor of the cross entropy's gradient; the slope by latency, per ms."""
        config = self.config
        if config.loss == "target":
            term, slope = self._aimed(ms)
            return loss + term, 1.0, slope
        if config.loss == "add":
            term, slope = added(ms, weight=config.latency_weight, reference_ms=config.reference_ms)
            return loss + term, 1.0, slope
        factor, slope = multiplied(loss, ms, alpha=config.alpha, beta=config.beta, reference_ms=config.reference_ms)
        return factor * loss, factor, slope

    def _aimed(self, ms: float) -> tuple[float, float]:
        config, multiplier = self.config, self.distribution.multiplier
        return aimed(ms, multiplier=multiplier, damping=config.damping, reference_ms=config.reference_ms)


class Seen(NamedTuple):
    """What a step sees: normalised images `[n, h, w, c]`, class probabilities, classes; the epoch and its generator."""

    images: Array
    target: Array
    labels: Array
    epoch: int
    rng: np.random.Generator


def every_gate(search: Search, params: Params, seen: Seen) -> tuple[float, Array]:
    """The gradient of every gate of one sampled path (Cai et al., ProxylessNAS, "full_v2")."""
    shares, path = search.distribution.shares, search.distribution.path(seen.rng)
    wanted = [range(len(share)) for share in shares]
    found = gates(params, search.plan, path, wanted, seen.images, seen.target)
    value, factor, slope = search.with_latency(found.loss, search.latency.expected_ms(shares))
    parts = zip(shares, found.gradient, search.latency.blocks_ms, strict=True)
    search.distribution.move([through(p, factor * g + slope * costs) for p, g, costs in parts])
    return value, found.logits


def two_paths(search: Search, params: Params, seen: Seen) -> tuple[float, Array]:
    """Two sampled candidates a layer; an active skip leaves its layer as it is."""
    distribution, plan, costs = search.distribution, search.plan, search.latency.blocks_ms
    pairs = [sample_pair(a, seen.rng) for a in distribution.alphas]
    path = [pair.active for pair in pairs]
    found = gates(params, plan, path, [(p.a, p.b) for p in pairs], seen.images, seen.target)
    shares: Layers = []
    for alpha, pair in zip(distribution.alphas, pairs, strict=True):
        share = np.zeros_like(alpha)
        share[[pair.a, pair.b]] = softmax(alpha[[pair.a, pair.b]])
        shares.append(share)
    value, factor, slope = search.with_latency(found.loss, search.latency.expected_ms(shares))
    idle = [plan.layers[i][pair.active] is None for i, pair in enumerate(pairs)]
    gradients: Layers = []
    for i, (pair, share) in enumerate(zip(pairs, shares, strict=True)):
        two, own = [pair.a, pair.b], np.zeros_like(share)
        if not idle[i]:
            g = factor * found.gradient[i] + slope * costs[i]
            own[two] = through(share[two], g[two])
        gradients.append(own)
    old = distribution.alphas
    distribution.move(gradients)
    moved = zip(old, distribution.alphas, pairs, idle, strict=True)
    distribution.alphas = [a if rests else rescaled(a, b, pair) for a, b, pair, rests in moved]
    return value, found.logits


def reinforce(search: Search, params: Params, seen: Seen) -> tuple[float, Array]:
    """R = accuracy (reference / latency)^power; the baseline takes 0.99 of each new mean."""
    config, distribution = search.config, search.distribution
    paths, rewards = [], []
    for _ in range(config.reinforce_batch):
        path = distribution.path(seen.rng)
        logits = forward(params, search.space.network(path), seen.images)
        accuracy = float((logits.argmax(axis=1) == seen.labels).mean())
        paths.append(path)
        rewards.append(accuracy * (config.reference_ms / search.latency.of(path)) ** config.reinforce_power)
    mean, before = float(np.mean(rewards)), distribution.baseline
    distribution.baseline = mean if np.isnan(before) else before + 0.99 * (mean - before)
    shares = distribution.shares
    gradients = [np.zeros_like(p) for p in shares]
    for path, reward in zip(paths, rewards, strict=True):
        for i, k in enumerate(path):  # of -(R - baseline) log p(path)
            gradients[i] += (reward - distribution.baseline) * (shares[i] - np.eye(len(shares[i]))[k])
    distribution.move([g / len(paths) for g in gradients])
    return -mean, logits


PROXYLESS: dict[str, Callable[[Search, Params, Seen], tuple[float, Array]]] = {
    "full_v2": every_gate,
    "two": two_paths,
    "reinforce": reinforce,
}


def through_mixture(search: Search, params: Params, zeros: Params, seen: Seen) -> tuple[float, Array]:
    """All candidates, weighted by Gumbel softmax (Wu et al., FBNet)."""
    distribution = search.distribution
    mixing, heat = distribution.mixing(seen.epoch, seen.rng), distribution.temperature(seen.epoch)
    found = mixture(params, zeros, search.plan, mixing, seen.images, seen.target)
    slopes, loss = read(found.mixing, found.loss)
    factor, slope = search.product(loss, search.latency.expected_ms(mixing))
    pairs = zip(mixing, slopes, search.latency.blocks_ms, strict=True)
    distribution.move([through(m, factor * g + slope * costs) / heat for m, g, costs in pairs])
    return factor * loss, found.logits
