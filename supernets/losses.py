"""Losses of a network's logits: cross entropy, and the divergence of AlphaNet."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Array = jax.Array
Loss = Callable[[Array, Array], Array]  # logits [n, classes], target [n, classes] -> scalar


def cross_entropy(logits: Array, target: Array) -> Array:
    """Mean over the batch; a target that sums to more than 1 weighs its parts (label + teacher)."""
    return -(target * jax.nn.log_softmax(logits)).sum(axis=1).mean()


CLIP = 5.0  # of the importance ratio to the power alpha


def divergence(p: Array, log_q: Array, alpha: float) -> tuple[Array, Array]:
    """Alpha divergence of a student q from a teacher p, and its gradient's weights (Wang et al., AlphaNet, ICML 2021).

    Args:
        p: Teacher's probabilities `[n, classes]`.
        log_q: Student's log probabilities `[n, classes]`.
        alpha: Its order; 0 and 1 are the two Kullback-Leibler divergences.

    Returns:
        D `[n]` and rho `[n, classes]`: the gradient of D is that of -sum q rho log q, q rho held fixed.
    """
    log_r = jnp.log(p + 1e-30) - log_q
    q = jnp.exp(log_q)
    if abs(alpha) < 1e-3:
        f, rho = -log_r, log_r - 1.0
    elif abs(alpha - 1.0) < 1e-3:
        r = jnp.exp(log_r)
        f, rho = r * log_r, r
    else:
        power = jnp.minimum(jnp.exp(alpha * log_r), CLIP)
        base = 1.0 / (alpha * (alpha - 1.0))
        f, rho = (power - 1.0) * base, power / alpha + base
    return (q * f).sum(axis=1), rho


def adaptive_divergence(logits: Array, teacher: Array) -> Array:
    """For every example the larger of the divergences of order -1 and +1; mean over the batch."""
    log_q = jax.nn.log_softmax(logits)
    fixed = jax.lax.stop_gradient(log_q)
    low, rho_low = divergence(teacher, fixed, -1.0)
    high, rho_high = divergence(teacher, fixed, 1.0)
    larger = jnp.maximum(low, high)
    rho = jnp.where((low > high)[:, None], rho_low, rho_high)
    surrogate = -(jnp.exp(fixed) * rho * log_q).sum(axis=1)
    # the value of the divergence, the gradient of the surrogate
    return (larger + surrogate - jax.lax.stop_gradient(surrogate)).mean()
