"""What a real supernet of a space reaches: a short training, by programs that all spaces of a hyperspace share.

Fifty spaces have fifty times the programs at their true sizes. Here every space's weights have the hyperspace's widths
and its networks are masked (`supernets.masked`), so that a stage of one block type has the same two programs in all.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from space_options import JUDGED_ON

from latency_tables import LatencyTable
from nas.pareto import hypervolume, pareto_front
from search_spaces import Network, Space
from search_spaces.hyperspace import Design, Hyperspace
from supernets import TrainConfig, masked
from supernets.batches import batches
from supernets.data import Dataset
from supernets.distill import kernels_in_turn
from supernets.inputs import Recipe, make_batch
from supernets.losses import cross_entropy
from supernets.placement import Placement
from supernets.shared import init_networks
from supernets.update import Update


@dataclass(frozen=True)
class Short:
    """A short training, and how its front is sampled.

    Attributes:
        epochs: Of the sandwich rule on the labels: largest, smallest and `random` networks a step.
        batch: Images a step, and a batch of the judging.
        random: See `epochs`.
        judged: Random networks of every size that the front is of, beside the largest and the smallest.
        images: Training images kept out, that they are judged on.
        precision: "fp32", or "bf16" for activations and products.
        seed: Of all random choices.
    """

    epochs: int = 2
    batch: int = 512
    random: int = 2
    judged: int = 128
    images: int = JUDGED_ON
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0


def reached(
    hyper: Hyperspace, design: Design, data: Dataset, table: LatencyTable, limit_ms: float, how: Short
) -> dict[str, Any]:
    """Trains a space briefly and judges random networks on the images kept out, batch norms by their batches.

    Returns:
        Error (percent) and latency by the table (ms) of the best networks, and the hypervolume to (100 %, the limit).
    """
    space, superset, params = hyper.space(design), *_fresh(hyper, design, how.seed)
    split = data.split(min(how.images, len(data.train_images) // 5), how.seed)
    config = TrainConfig(
        epochs=how.epochs,
        warm_epochs=0,
        batch_size=how.batch,
        peak_lr=0.1 * how.batch / 256,
        precision=how.precision,
        seed=how.seed,
    )
    source = batches(
        split.train_images, split.train_labels, batch_size=how.batch, seed=how.seed, place=Placement(how.batch, 1)
    )
    recipe = Recipe.of(config, data.mean, data.std)
    steps = how.epochs * source.per_epoch
    update = Update(config, steps)
    state = update.fresh(config, params)
    size = max(hyper.resolutions)
    for step in range(steps):
        images, labels = source(step)
        made = make_batch(
            images, labels, np.uint32(step), recipe=recipe, size=size, classes=data.num_classes, features=1
        )
        total = update.zeros(state.params)
        for network in _drawn(space, how, step):
            total, value = masked.gradient(state.params, total, superset, network, made.images, made.target, _loss)
            value.block_until_ready()  # a host that ran ahead would hold the maps of many networks on the device
        state = update.run(state, total, 1.0)
    source.close()
    rng = np.random.default_rng([how.seed, 3])
    archs = [space.largest, space.smallest, *space.sample_of_every_size(rng, how.judged)]
    networks = [space.network(x) for x in archs]
    normalised = (split.validation_images / np.float32(255) - data.mean) / data.std
    kept = len(normalised) // how.batch * how.batch
    judged = [jnp.asarray(normalised[i : i + how.batch], recipe.dtype) for i in range(0, kept, how.batch)]
    truth = split.validation_labels[:kept]
    errors = [100 - _accuracy(state.params, superset, network, judged, truth) for network in networks]
    points = np.array(list(zip(errors, (table.predict(network).median for network in networks), strict=True)))
    return {
        "design": list(design),
        "front": points[pareto_front(points)].tolist(),
        "hypervolume": hypervolume(points, np.array([100.0, limit_ms])),
    }


def _fresh(hyper: Hyperspace, design: Design, seed: int) -> tuple[Network, dict[str, jax.Array]]:
    """The superset of a space's networks at every width of the hyperspace, and fresh weights for it."""
    networks = kernels_in_turn(hyper.widest(design))
    return networks[-1], init_networks(networks, seed)


def _drawn(space: Space, how: Short, step: int) -> list[Network]:
    rng = np.random.default_rng([how.seed, 2, step])
    rows = [space.largest, space.smallest, *space.sample(rng, how.random)]
    return [space.network(x) for x in rows]


def _loss(logits: jax.Array, target: jax.Array) -> jax.Array:
    return cross_entropy(logits.reshape(target.shape).astype(jnp.float32), target)


def _accuracy(
    params: dict[str, jax.Array], superset: Network, network: Network, images: list[jax.Array], labels: np.ndarray
) -> float:
    found = [masked.forward(params, superset, network, x).reshape(len(x), -1).argmax(axis=1) for x in images]
    return 100 * float((np.concatenate([np.asarray(y) for y in found]) == labels).mean())
