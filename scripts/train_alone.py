"""One network of a space trained on its own, to the fp32 file that is exported."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.console import progress
from nas.files import write_bytes

if TYPE_CHECKING:
    from search_spaces import Architecture, Network, Space
    from supernets import TrainConfig
    from supernets.data import Dataset
    from supernets.data.dataset import Split

_MOMENTS = 1000  # training images that the file's batch norms are taken from


def recipe(epochs: int, batch: int, **more: Any) -> "TrainConfig":
    """How a network is trained on its own, unless `more` says otherwise."""
    from supernets import TrainConfig

    fixed: dict[str, Any] = {"warm_epochs": 0, "shift": 4, "weight_decay": 5e-4}
    return TrainConfig(epochs=epochs, batch_size=batch, peak_lr=0.1 * batch / 256, **(fixed | more))


def trained_alone(
    space: "Space",
    arch: "Architecture",
    data: "Dataset",
    split: "Split",
    config: "TrainConfig",
    folder: Path,
    images: int | None = None,
) -> "Network":
    """Trains a network, unless that was done before; a killed training goes on from its checkpoint.

    Args:
        space: That it is of.
        arch: Its genotype.
        data: Whose mean and deviation the images are normalised by.
        split: The images to train on.
        config: How; method and architecture are set here.
        folder: Of its fp32.onnx.
        images: The first of the training images, by default all.

    Returns:
        The network in the file.
    """
    import jax.numpy as jnp

    from latency_tables import onnx_model
    from supernets import export_weights, slice_weights, train
    from supernets.calibrate import network_moments
    from supernets.inputs import Recipe, seen_images

    network, path = space.network(arch).live, folder / "fp32.onnx"
    if path.is_file():
        return network
    config = replace(config, method="scratch", arch=space.to_text(arch))
    with progress(f"train {'/'.join(folder.parts[-2:])}") as update:
        params = train(
            space,
            split.train_images[:images],
            split.train_labels[:images],
            mean=data.mean,
            std=data.std,
            config=config,
            folder=folder / "checkpoints",
            on_step=lambda r: update(r.step, r.steps, f"loss {r.loss:.3f}, accuracy {r.accuracy:.1f} %"),
        )
    seen = seen_images(split.train_images, Recipe.of(config, data.mean, data.std), count=_MOMENTS, size=network.size)
    weights = export_weights(slice_weights(params, network, network_moments(params, network, jnp.asarray(seen))))
    write_bytes(path, onnx_model(network, weights).SerializeToString())
    shutil.rmtree(folder / "checkpoints")
    return network
