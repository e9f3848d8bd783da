"""ParZC (Dong et al., AAAI 2025): zero-cost statistics node by node, mixed and ranked.

An architecture is one row of statistics a node (an operator with weights), min-max scaled within
the architecture; a node it lacks is 0. The mixer is a true one, over nodes and over channels; the
Bayesian layers draw their weights anew in every forward pass, and a prediction is the mean of several.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from predictors.regression import NormalScores

Array = jax.Array
Weights = dict[str, Any]
_PATCHES, _PATCH = 16, 16
_RHO = -5.0  # initial softplus argument of the weights' deviations


def scale_nodes(statistics: np.ndarray) -> np.ndarray:
    """Statistics `[n, nodes, k]`, nan for a missing node, to features `[n, nodes * k]`.

    Logarithms of magnitudes, min-max scaled for every architecture and statistic to 0.1..1.

    Args:
        statistics: Non-negative, or logarithms already where a column holds negative numbers.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where((np.nanmin(statistics, axis=(0, 1)) >= 0), np.log(statistics), statistics)
    logs = np.where(np.isfinite(logs), logs, np.nan)
    present = ~np.isnan(logs)
    low = np.min(np.where(present, logs, np.inf), axis=1, keepdims=True)
    high = np.max(np.where(present, logs, -np.inf), axis=1, keepdims=True)
    span = np.where(high > low, high - low, 1.0)
    scaled = np.where(present, 0.1 + 0.9 * (logs - low) / span, 0.0)
    return np.minimum(np.nan_to_num(scaled), 1.0).reshape(len(statistics), -1)


def training_free(statistics: np.ndarray, frequency: float = 0.5) -> np.ndarray:
    """Scores `[n]` without labels: nodes weighted by a non-negative sinusoid of their depth.

    The paper's formula is not public; here (1 + sin(2 pi * frequency * depth)) / 2 with depth from 0
    to 1, on the logarithms of the first statistic, of all nodes that are there.

    Args:
        statistics: `[n, nodes, k]`, nan for a missing node.
        frequency: Periods from the first node to the last.
    """
    depth = np.linspace(0, 1, statistics.shape[1])
    weights = (1 + np.sin(2 * np.pi * frequency * depth)) / 2
    with np.errstate(divide="ignore"):
        logs = np.log1p(np.maximum(statistics[:, :, 0], 0.0))
    return np.nansum(weights * logs, axis=1)


def diff_kendall(x: Array, y: Array, alpha: float = 0.5) -> Array:
    """Differentiable Kendall's tau of two vectors `[n]`, within +-1."""
    dx, dy = x[:, None] - x[None, :], y[:, None] - y[None, :]
    n = len(x)
    # ordered pairs count every pair twice, hence n (n - 1); the diagonal is 0
    return (jnp.tanh(alpha * dx / 2) * jnp.tanh(alpha * dy / 2)).sum() / (n * (n - 1))


class ParZCRegressor:
    """The mixer with Bayesian layers, trained to rank.

    Targets are standardised as normal scores of their ranks: a few broken networks would
    otherwise leave differences of nearly 0 to all the others, and tanh no slope. Inputs are
    standardised too.

    Args:
        width: Channels of the mixer; 512 as published. A small mixer ranked better with 78 labels.
        depth: Mixer layers.
        epochs: Over the labels.
        batch: Rows a step; pairs within it are compared.
        lr: Of Adam, decayed to 0.
        weight_decay: Decoupled.
        draws: Averaged for a prediction.
        seed: Of all randomness.
    """

    def __init__(
        self,
        *,
        width: int = 64,
        depth: int = 2,
        epochs: int = 200,
        batch: int = 32,
        lr: float = 3e-4,
        weight_decay: float = 1e-3,
        draws: int = 10,
        seed: int = 0,
    ) -> None:
        self.width, self.depth, self.epochs, self.batch = width, depth, epochs, batch
        self.lr, self.weight_decay, self.draws, self.seed = lr, weight_decay, draws, seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> "ParZCRegressor":
        """Learns from node features `X` `[n, d]` and targets `y` `[n]`."""
        y, X = np.asarray(y, dtype=np.float64), np.asarray(X, dtype=np.float64)
        self._scores = NormalScores().fit(y)
        target = self._scores.forward(y)
        self._mean, self._std = X.mean(axis=0), np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
        key, order = jax.random.split(jax.random.key(self.seed))
        batch = min(self.batch, len(y))
        steps = self.epochs * max(1, len(y) // batch)
        recipe = (steps, batch, self.lr, self.weight_decay)
        weights = _initial(key, X.shape[1], self.width, self.depth)
        self.weights_ = _train(recipe, weights, self._rows(X), jnp.asarray(target, jnp.float32), order)
        predicted = self._draws(X).mean(axis=0)
        self._slope = float(np.std(target) / (np.std(predicted) or 1.0))
        self._shift = float(predicted.mean())
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predicted targets, float64 `[n]`: mean of the draws."""
        return self._scores.backward((self._draws(X).mean(axis=0) - self._shift) * self._slope)

    def spread(self, X: np.ndarray) -> np.ndarray:
        """Standard deviation of the draws in normal scores, float64 `[n]`."""
        return self._draws(X).std(axis=0) * self._slope

    def _rows(self, X: np.ndarray) -> Array:
        return jnp.asarray((np.asarray(X) - self._mean) / self._std, jnp.float32)

    def _draws(self, X: np.ndarray) -> np.ndarray:
        keys = jax.random.split(jax.random.key(self.seed + 1), self.draws)
        rows = self._rows(X)
        parts = [rows[i : i + 2048] for i in range(0, len(rows), 2048)]
        return np.stack(
            [np.concatenate([np.asarray(_evaluate(self.weights_, part, key)) for part in parts]) for key in keys]
        ).astype(np.float64)


@partial(jax.jit, static_argnums=0)
def _train(recipe: tuple[int, int, float, float], weights: Weights, X: Array, y: Array, key: Array) -> Weights:
    steps, batch, lr, weight_decay = recipe
    optimiser = optax.adamw(optax.cosine_decay_schedule(lr, steps), weight_decay=weight_decay)

    def loss(weights: Weights, rows: Array, key: Array) -> Array:
        return -diff_kendall(_apply(weights, X[rows], key, drop=0.1), y[rows])

    def step(carry: tuple, key: Array) -> tuple[tuple, None]:
        weights, state = carry
        pick, noise = jax.random.split(key)
        rows = jax.random.choice(pick, len(y), (batch,), replace=False)
        updates, state = optimiser.update(jax.grad(loss)(weights, rows, noise), state, weights)
        return (optax.apply_updates(weights, updates), state), None

    return jax.lax.scan(step, (weights, optimiser.init(weights)), jax.random.split(key, steps))[0][0]


def _initial(key: Array, features: int, width: int, depth: int) -> Weights:
    keys = iter(jax.random.split(key, 6 + 4 * depth))

    def linear(i: int, o: int) -> Weights:
        bound = 1 / np.sqrt(i)
        return {"w": jax.random.uniform(next(keys), (i, o), minval=-bound, maxval=bound), "b": jnp.zeros(o)}

    def bayesian(i: int, o: int) -> Weights:
        return {**linear(i, o), "rho": jnp.full((i, o), _RHO)}

    return {
        "stem": linear(features, _PATCHES * _PATCH),
        "embed": bayesian(_PATCH, width),
        "mixers": [
            {
                "tokens": [linear(_PATCHES, 4 * _PATCHES), linear(4 * _PATCHES, _PATCHES)],
                "channels": [linear(width, width // 2), linear(width // 2, width)],
            }
            for _ in range(depth)
        ],
        "head": bayesian(width, width),
        "hidden": linear(width, 256),
        "out": linear(256, 1),
    }


def _linear(layer: Weights, x: Array, key: Array | None = None) -> Array:
    """Applies a layer; a Bayesian one draws its weights."""
    w = layer["w"]
    if "rho" in layer:
        assert key is not None
        w = w + jax.nn.softplus(layer["rho"]) * jax.random.normal(key, w.shape)
    return x @ w + layer["b"]


def _norm(x: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5)


def _apply(weights: Weights, X: Array, key: Array, drop: float) -> Array:
    keys = iter(jax.random.split(key, 2 + 2 * len(weights["mixers"])))

    def feed(layers: list[Weights], x: Array, key: Array) -> Array:
        y = _linear(layers[1], jax.nn.gelu(_linear(layers[0], x)))
        return y * jax.random.bernoulli(key, 1 - drop, y.shape) / (1 - drop) if drop else y

    x = _linear(weights["stem"], X).reshape(len(X), _PATCHES, _PATCH)
    x = _linear(weights["embed"], x, next(keys))
    for mixer in weights["mixers"]:
        x = x + feed(mixer["tokens"], _norm(x).swapaxes(1, 2), next(keys)).swapaxes(1, 2)
        x = x + feed(mixer["channels"], _norm(x), next(keys))
    x = _linear(weights["head"], _norm(x).mean(axis=1), next(keys))
    return _linear(weights["out"], jax.nn.gelu(_linear(weights["hidden"], jax.nn.gelu(x))))[:, 0]


@jax.jit
def _evaluate(weights: Weights, X: Array, key: Array) -> Array:
    return _apply(weights, X, key, drop=0.0)
