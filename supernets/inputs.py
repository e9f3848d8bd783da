"""From raw images to what a step sees, in one compiled program; likewise for batch norms that are recalibrated."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from supernets.augment import mix, randaugment
from supernets.config import TrainConfig
from supernets.data.images import workers
from supernets.data.pictures import Pictures
from supernets.images import augment
from supernets.rules import Batch

Array = jax.Array


@dataclass(frozen=True)
class Recipe:
    """How images are augmented and labels smoothed; see `TrainConfig` for each.

    Attributes:
        mean: Of every channel, for pixels in 0..1.
        std: Likewise.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int
    shift: int
    flip: bool
    randaugment: float
    mixup: float
    cutmix: float
    label_smoothing: float
    dropout: float
    half: bool

    @property
    def dtype(self) -> type:
        """Of the images, and so of the activations."""
        return jnp.bfloat16 if self.half else jnp.float32

    @classmethod
    def of(cls, config: TrainConfig, mean: np.ndarray, std: np.ndarray, *, crops: bool = False) -> "Recipe":
        """The recipe of a training.

        Args:
            config: How it is done.
            mean: Of every channel.
            std: Likewise.
            crops: Whether the images are random crops already, which are not shifted any more.
        """
        return cls(
            mean=tuple(map(float, mean)),
            std=tuple(map(float, std)),
            seed=config.seed,
            shift=0 if crops else config.shift,
            flip=config.flip,
            randaugment=config.randaugment,
            mixup=config.mixup,
            cutmix=config.cutmix,
            label_smoothing=config.label_smoothing,
            dropout=config.dropout,
            half=config.precision == "bf16",
        )


@partial(jax.jit, static_argnames=("recipe", "size", "classes", "features", "sharding"))
def make_batch(
    images: Array,
    labels: Array,
    step: Array | np.uint32,
    *,
    recipe: Recipe,
    size: int,
    classes: int,
    features: int,
    sharding: Any = None,
) -> Batch:
    """Augmented, normalised images of a resolution, smoothed classes, and a mask for the features.

    Args:
        images: uint8 `[n, h, w, c]`.
        labels: int `[n]`.
        step: With the recipe's seed, all that the random choices depend on.
        recipe: What is done.
        size: Height and width wanted, pixels.
        classes: How many there are.
        features: Before the classifier.
        sharding: Of all three over the batch.
    """
    key = jax.random.fold_in(jax.random.key(recipe.seed), step)
    mean, std = jnp.array(recipe.mean, jnp.float32), jnp.array(recipe.std, jnp.float32)
    if recipe.randaugment:
        images = randaugment(images, jax.random.fold_in(key, 2), recipe.randaugment)
    x = augment(images, mean, std, key, size=size, shift=recipe.shift, flip=recipe.flip)
    target = optax.smooth_labels(jax.nn.one_hot(labels, classes), recipe.label_smoothing)
    if recipe.mixup or recipe.cutmix:
        x, target = mix(x, target, jax.random.fold_in(key, 3), mixup=recipe.mixup, cutmix=recipe.cutmix)
    kept = jax.random.bernoulli(jax.random.fold_in(key, 1), 1 - recipe.dropout, (len(labels), features))
    dropout = kept.astype(jnp.float32) / (1 - recipe.dropout)
    made = Batch(x.astype(recipe.dtype), target, dropout)
    return made if sharding is None else jax.lax.with_sharding_constraint(made, sharding)


def some_images(n: int, count: int, seed: int) -> np.ndarray:
    """Which of n training images to calibrate on: a random choice, for files often come by class."""
    return np.random.default_rng([seed, 6]).permutation(n)[:count]


_NO_STEP = np.uint32(0xFFFFFFFF)  # of a training


def seen_images(images: np.ndarray | Pictures, recipe: Recipe, *, count: int, size: int) -> np.ndarray:
    """Training images as the training saw them, for the moments of batch norms.

    Weights fit the moments of augmented images: with those of plain ones, a supernet of CIFAR-10 shifted by up to
    4 pixels loses 3 to 4 points (supernets/README.md). They are not mixed, which nothing is afterwards.

    Args:
        images: Training images uint8 `[n, h, w, c]`, or pictures, of which random parts are taken.
        recipe: Of the training; its seed says which images.
        count: How many.
        size: Height and width wanted, pixels.

    Returns:
        float32 `[count, size, size, c]`, normalised.
    """
    chosen = some_images(len(images), count, recipe.seed)
    if isinstance(images, np.ndarray):
        raw = images[chosen]
    else:
        with ThreadPoolExecutor(workers()) as pool:
            crops = [(int(i), np.random.default_rng([recipe.seed, 7, int(i)])) for i in chosen]
            raw = np.stack(list(pool.map(lambda crop: images.crop(*crop), crops)))
    plain = replace(recipe, mixup=0.0, cutmix=0.0, half=False)
    labels = jnp.zeros(len(raw), jnp.int32)
    return np.asarray(make_batch(raw, labels, _NO_STEP, recipe=plain, size=size, classes=1, features=1).images)


@partial(jax.jit, static_argnames="sharding")
def figures(loss: Array, logits: Array, labels: Array, *, sharding: Any = None) -> Array:
    """Loss (of every device, where each has one) and accuracy (percent) of a batch, `[2]`."""
    right = (logits.argmax(axis=1) == labels).mean(dtype=jnp.float32)
    found = jnp.stack([loss.mean(), 100 * right])
    return found if sharding is None else jax.lax.with_sharding_constraint(found, sharding)
