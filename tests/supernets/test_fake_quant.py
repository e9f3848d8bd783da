"""LSQ+ against closed forms, and rounding supernets against ONNX Runtime's arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.fake_quant import (
    ACTIVATION_LEVELS,
    activation_scale,
    round_activation,
    round_weight,
    rounded_kernel,
    weight_scale,
    zero_point,
)


def test_weights_on_the_grid_and_their_gradients():
    """One channel of three weights at step 0.5: inside, half way up (to even), beyond the last level."""
    w, s = jnp.array([[0.6], [0.25], [-40.0]]), jnp.array([0.5])
    assert round_weight(w, s)[:, 0].tolist() == [0.5, 0.0, -32.0]
    dw, ds = jax.grad(lambda w, s: (round_weight(w, s)[:, 0] * jnp.array([1.0, 10.0, 100.0])).sum(), (0, 1))(w, s)
    assert dw[:, 0].tolist() == [1.0, 10.0, 0.0]
    # round(v) - v inside: 1 - 1.2 and 0 - 0.5; -64 beyond; over sqrt(3 weights * 64)
    assert float(ds[0]) == pytest.approx((1 * -0.2 + 10 * -0.5 + 100 * -64) / np.sqrt(3 * 64), rel=1e-6)


def test_activations_on_the_grid_and_their_gradients():
    """Step 0.1, offset -0.52, which counts as a zero point of 5: the range is -0.5 to 25."""
    s, b = jnp.float32(0.1), jnp.float32(-0.52)
    assert float(zero_point(s, b)) == 5
    x = jnp.array([[0.13, -0.9], [30.0, 1.0]])
    assert np.allclose(round_activation(x, s, b), [[0.1, -0.5], [25.0, 1.0]], atol=1e-6)
    g = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    dx, ds, db = jax.grad(lambda x, s, b: (g * round_activation(x, s, b)).sum(), (0, 1, 2))(x, s, b)
    assert np.allclose(dx, [[1, 0], [0, 4]])
    shrink = 1 / np.sqrt(2 * ACTIVATION_LEVELS)  # two numbers an image
    # inside: round(v) - v = 6 - 6.3; below: 0; above: 255; the last lies on the grid
    assert float(ds) == pytest.approx(shrink * (1 * -0.3 + 3 * 255), rel=1e-4)
    assert float(db) == pytest.approx(shrink * (2 + 3), rel=1e-5)


def test_numpy_and_jax_round_alike(rng):
    w = rng.normal(size=(3, 3, 4, 5)).astype(np.float32)
    s = np.asarray(weight_scale(jnp.asarray(w), (0, 1, 2)))
    assert s.shape == (5,) and np.array_equal(rounded_kernel(w, s), rounded_kernel(jnp.asarray(w), jnp.asarray(s)))
    # the largest magnitude of a channel is kept
    assert np.allclose(np.abs(rounded_kernel(w, s)).max(axis=(0, 1, 2)), np.abs(w).max(axis=(0, 1, 2)))


def test_learned_step_finds_the_best_one(rng):
    """Minimising the error of rounding by LSQ's gradient ends near the best step of a grid search."""
    w = jnp.asarray(rng.laplace(size=(4000, 1)).astype(np.float32))

    def error(s):
        return ((round_weight(w, s) - w) ** 2).mean()

    s = weight_scale(w, (0,)) * 3
    slope = jax.jit(jax.grad(error))
    for _ in range(3000):
        s = s - 0.5 * slope(s) * np.sqrt(w.size * 64) / 64
    grid = np.linspace(0.02, 0.4, 400, dtype=np.float32)
    best = min(float(error(jnp.array([g]))) for g in grid)
    assert float(error(s)) < 1.3 * best < 0.2 * float(error(weight_scale(w, (0,)) * 3))


def test_first_steps_hold_zero():
    assert float(activation_scale(jnp.float32(1.0), jnp.float32(3.0))) == pytest.approx(3 / 255)
    assert float(activation_scale(jnp.float32(-1.0), jnp.float32(2.0))) == pytest.approx(3 / 255)
