"""The multilayer perceptron of Once-for-All's accuracy predictor, and ensembles of it, in JAX."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

Array = jax.Array
Layers = list[tuple[Array, Array]]


class MLPRegressor:
    """Three layers of 400 ReLUs (Cai et al., ICLR 2020), Adam, weight decay; a deep ensemble with `members` > 1.

    The members differ in their initial weights and in the order of the data (Lakshminarayanan et
    al., NeurIPS 2017); they train at once, as one batched program. The bias of the output starts
    at the mean of the targets.

    Args:
        width: Of the hidden layers.
        depth: Number of hidden layers.
        members: Of the ensemble.
        steps: Of Adam.
        batch: Rows a step.
        lr: Peak learning rate; cosine to 0.
        weight_decay: Decoupled.
        seed: Of all randomness.
    """

    def __init__(
        self,
        *,
        width: int = 400,
        depth: int = 3,
        members: int = 1,
        steps: int = 600,
        batch: int = 64,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        seed: int = 0,
    ) -> None:
        self.width, self.depth, self.members, self.steps = width, depth, members, steps
        self.batch, self.lr, self.weight_decay, self.seed = batch, lr, weight_decay, seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> "MLPRegressor":
        """Learns from `X` `[n, d]` and `y` `[n]`."""
        sizes = (X.shape[1], *[self.width] * self.depth, 1)
        keys = jax.random.split(jax.random.key(self.seed), self.members)
        recipe = (sizes, self.steps, min(self.batch, len(y)), self.lr, self.weight_decay)
        self.layers_ = _train_all(recipe, keys, jnp.asarray(X, jnp.float32), jnp.asarray(y, jnp.float32))
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Mean of the members, float64 `[n]`."""
        return self._members(X).mean(axis=0)

    def spread(self, X: np.ndarray) -> np.ndarray:
        """Standard deviation of the members, float64 `[n]`."""
        return self._members(X).std(axis=0)

    def _members(self, X: np.ndarray) -> np.ndarray:
        predicted = jax.vmap(_predict, in_axes=(0, None))(self.layers_, jnp.asarray(X, jnp.float32))
        return np.asarray(predicted, dtype=np.float64)


@partial(jax.jit, static_argnums=0)  # compiled once for all folds of a cross-validation that have as many rows
def _train_all(recipe: tuple[tuple[int, ...], int, int, float, float], keys: Array, X: Array, y: Array) -> Layers:
    return jax.vmap(partial(_train, *recipe), in_axes=(0, None, None))(keys, X, y)


def _train(
    sizes: tuple[int, ...], steps: int, batch: int, lr: float, weight_decay: float, key: Array, X: Array, y: Array
) -> Layers:
    initial, order = jax.random.split(key)
    layers = [
        (jax.random.normal(k, (i, o)) * jnp.sqrt(2 / i), jnp.zeros(o))
        for k, i, o in zip(jax.random.split(initial, len(sizes) - 1), sizes[:-1], sizes[1:], strict=True)
    ]
    layers[-1] = (layers[-1][0] * 0.1, jnp.full(1, y.mean()))
    optimiser = optax.adamw(optax.cosine_decay_schedule(lr, steps), weight_decay=weight_decay)

    def step(carry: tuple, key: Array) -> tuple[tuple, None]:
        layers, state = carry
        rows = jax.random.choice(key, len(y), (batch,), replace=False)
        gradient = jax.grad(lambda w: ((_predict(w, X[rows]) - y[rows]) ** 2).mean())(layers)
        updates, state = optimiser.update(gradient, state, layers)
        return (optax.apply_updates(layers, updates), state), None

    (layers, _), _ = jax.lax.scan(step, (layers, optimiser.init(layers)), jax.random.split(order, steps))
    return layers


def _predict(layers: Layers, X: Array) -> Array:
    for weight, bias in layers[:-1]:
        X = jax.nn.relu(X @ weight + bias)
    weight, bias = layers[-1]
    return (X @ weight + bias)[:, 0]
