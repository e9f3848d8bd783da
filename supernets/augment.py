"""Augmentation on the device: RandAugment, mixup and CutMix; the shift and the mirror are in `images`."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

Array = jax.Array

_OPERATIONS = 12
_PER_IMAGE = 2  # operations after one another (Cubuk et al., RandAugment, 2020)


@partial(jax.jit, static_argnames="magnitude")
def randaugment(images: Array, key: Array, magnitude: float) -> Array:
    """Two random operations an image, all of one strength (Cubuk et al., RandAugment, 2020).

    Args:
        images: `[n, h, w, c]`, 0..255.
        key: Of the choices and signs.
        magnitude: 0..10.

    Returns:
        float32 `[n, h, w, c]`, 0..255.
    """
    x = jnp.asarray(images, jnp.float32)
    for round_key in jax.random.split(key, _PER_IMAGE):
        choice_key, sign_key = jax.random.split(round_key)
        choices = jax.random.randint(choice_key, (len(x),), 0, _OPERATIONS)
        signs = jnp.where(jax.random.bernoulli(sign_key, shape=(len(x),)), 1.0, -1.0)
        x = jax.vmap(partial(_augmented, magnitude / 10))(x, choices, signs)
    return x


def _augmented(strength: float, x: Array, choice: Array, sign: Array) -> Array:
    """One operation on one image: a warp for the geometric ones, else one of the changes of colour."""
    level = sign * strength
    size = x.shape[0]
    angle = jnp.where(choice == 1, level * jnp.pi / 6, 0.0)
    shear_x, shear_y = (jnp.where(choice == i, 0.3 * level, 0.0) for i in (2, 3))
    move_x, move_y = (jnp.where(choice == i, 0.3 * level * size, 0.0) for i in (4, 5))
    warped = _warp(x, angle, shear_x, shear_y, move_x, move_y)
    factor = 1.0 + 0.9 * level
    grey = x.mean(axis=-1, keepdims=True)
    bits = jnp.round(8 - 4 * strength)
    low, high = x.min(axis=(0, 1)), x.max(axis=(0, 1))
    colours = {
        6: factor * x,  # brightness
        7: grey.mean() + factor * (x - grey.mean()),  # contrast
        8: grey + factor * (x - grey),  # colour
        9: jnp.floor(x / 2 ** (8 - bits)) * 2 ** (8 - bits),  # posterize
        10: jnp.where(x < 256 * (1 - strength), x, 255 - x),  # solarize
        11: (x - low) * 255 / jnp.maximum(high - low, 1.0),  # autocontrast
    }
    y = jnp.where(choice <= 5, warped, x)
    for i, value in colours.items():
        y = jnp.where(choice == i, value, y)
    return jnp.where(choice == 0, x, jnp.clip(y, 0.0, 255.0))


def _warp(x: Array, angle: Array, shear_x: Array, shear_y: Array, move_x: Array, move_y: Array) -> Array:
    """Bilinear; grey comes in from outside."""
    h, w, _ = x.shape
    rows, columns = jnp.meshgrid(jnp.arange(h) - (h - 1) / 2, jnp.arange(w) - (w - 1) / 2, indexing="ij")
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    source_y = cos * rows + sin * columns + shear_y * columns + move_y + (h - 1) / 2
    source_x = -sin * rows + cos * columns + shear_x * rows + move_x + (w - 1) / 2
    sample = partial(map_coordinates, coordinates=[source_y, source_x], order=1, mode="constant", cval=128.0)
    return jax.vmap(sample, in_axes=-1, out_axes=-1)(x)


@partial(jax.jit, static_argnames=("mixup", "cutmix"))
def mix(images: Array, target: Array, key: Array, *, mixup: float, cutmix: float) -> tuple[Array, Array]:
    """Mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019) of a batch with its reverse; with both, either.

    Args:
        images: `[n, h, w, c]`.
        target: Class probabilities `[n, classes]`.
        key: Of the share, the box, and which of the two.
        mixup: Parameter of the beta distribution of the share; 0 for no mixup.
        cutmix: Likewise.
    """
    which_key, share_key, box_key, cut_key = jax.random.split(key, 4)
    other, other_target = images[::-1], target[::-1]
    blend = jax.random.beta(share_key, mixup or 1.0, mixup or 1.0)
    blended = blend * images + (1 - blend) * other
    h, w = images.shape[1:3]
    side = jnp.sqrt(1 - jax.random.beta(cut_key, cutmix or 1.0, cutmix or 1.0))
    centre = jax.random.uniform(box_key, (2,))
    rows, columns = jnp.arange(h)[:, None], jnp.arange(w)[None]
    inside_y = jnp.abs(rows + 0.5 - centre[0] * h) <= side * h / 2
    inside = inside_y & (jnp.abs(columns + 0.5 - centre[1] * w) <= side * w / 2)
    cut = jnp.where(inside[None, :, :, None], other, images)
    chance = cutmix / (mixup + cutmix) if mixup and cutmix else float(bool(cutmix))
    take_cut = jax.random.bernoulli(which_key, chance) if 0 < chance < 1 else jnp.bool_(chance == 1)
    share = jnp.where(take_cut, 1 - inside.mean(), blend)
    return jnp.where(take_cut, cut, blended), share * target + (1 - share) * other_target
