"""Images on their way into a network: normalised, resized, augmented; all compiled."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


@partial(jax.jit, static_argnames="size")
def prepare(images: Array, mean: Array, std: Array, *, size: int) -> Array:
    """uint8 `[n, h, w, c]` to normalised float32 `[n, size, size, c]`; bilinear where the size differs."""
    x = (jnp.asarray(images, jnp.float32) / 255 - mean) / std
    n, h, w, c = x.shape
    return x if h == w == size else jax.image.resize(x, (n, size, size, c), "bilinear")


@partial(jax.jit, static_argnames=("size", "shift", "flip"))
def augment(images: Array, mean: Array, std: Array, key: Array, *, size: int, shift: int, flip: bool) -> Array:
    """As `prepare`, after a random shift of up to `shift` pixels (zeros enter) and a random mirroring."""
    n, h, w, c = images.shape
    shift_key, flip_key = jax.random.split(key)
    if shift:
        padded = jnp.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)))
        starts = jax.random.randint(shift_key, (n, 2), 0, 2 * shift + 1)
        images = jax.vmap(lambda x, s: jax.lax.dynamic_slice(x, (s[0], s[1], 0), (h, w, c)))(padded, starts)
    if flip:
        mirrored = jax.random.bernoulli(flip_key, shape=(n, 1, 1, 1))
        images = jnp.where(mirrored, images[:, :, ::-1], images)
    return prepare(images, mean, std, size=size)


def nchw(images: Array | np.ndarray) -> np.ndarray:
    """`[n, h, w, c]` as ONNX wants it: float32 `[n, c, h, w]`, contiguous."""
    return np.ascontiguousarray(np.asarray(images, dtype=np.float32).transpose(0, 3, 1, 2))
