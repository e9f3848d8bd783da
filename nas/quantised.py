"""Runs of quantised supernets: fine-tuning from a trained one, and what their exported files are checked against."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.console import progress, say
from nas.errors import UserError
from nas.memory import release_memory
from nas.runs import Run
from nas.subnets import Evaluator, Subnets, image_sizes
from nas.train_run import recorded_training

if TYPE_CHECKING:
    from supernets import TrainConfig

_FIRST_IMAGES = 128  # training images that the first steps are taken from
_BATCH = 250


def fine_tuning(origin: Run, given: Mapping[str, Any]) -> "TrainConfig":
    """How a run's supernet is fine-tuned: as it was trained, but for a sixth of the epochs at a tenth of the rate.

    These shares are about SpaceEvo's (50 of 360 epochs). The seed stays, so that the same images are kept
    for validation.

    Args:
        origin: The run.
        given: Fields that are to be otherwise.
    """
    from supernets import TrainConfig

    base = asdict(recorded_training(origin))
    shares = {"epochs": max(1, base["epochs"] // 6), "peak_lr": base["peak_lr"] / 10}
    fixed = {
        "method": "qfa",
        "warm_epochs": 0,
        "precision": "fp32",
        "sampling": "uniform",
        "arch": "",
        "seed": origin.config["seed"],
    }
    return TrainConfig(**(base | shares | dict(given) | fixed))


def quantise_run(folder: Path, source: Path, config: "TrainConfig", *, devices: int | None = None) -> dict[str, Any]:
    """Trains (or continues) the quantised supernet of a run, from the weights of another.

    Args:
        folder: The run to make; its space, data and seed are those of the other.
        source: The run whose weights it starts from.
        config: How to train.
        devices: How many to use.

    Raises:
        UserError: if the other run is quantised itself.
    """
    from supernets import train
    from supernets.first_steps import with_steps
    from supernets.quantised import is_quantised

    origin = Run.open(source)
    subnets = Subnets(origin)
    if is_quantised(subnets.params):
        raise UserError(f"Run {str(source)!r} is quantised already; give the run that it was made from.")
    record = {"data": origin.config["data"], "train": asdict(config), "quantised_from": str(source)}
    run = Run.create(folder, origin.space, seed=config.seed, **record)
    sizes = image_sizes(origin.space)
    say("first steps from the extremes of weights and activations")
    images = {size: subnets.calibration_images(size)[:_FIRST_IMAGES] for size in {sizes[0], sizes[-1]}}
    start = with_steps(_on_device(subnets.params), origin.space, _on_device(images), seed=config.seed)
    last: list[Any] = []
    with progress("train") as update:

        def show(report: Any) -> None:
            last[:] = [report]
            if report.note:
                say(report.note)
            update(report.step, report.steps, f"loss {report.loss:.3f}, accuracy {report.accuracy:.1f} %")

        train(
            origin.space,
            subnets.split.train_images,
            subnets.split.train_labels,
            mean=subnets.data.mean,
            std=subnets.data.std,
            config=config,
            folder=run.supernet,
            on_step=show,
            on_compiled=lambda done, total: update(0, 1, f"compiling, {done} of {total}"),
            start=start,
            devices=devices,
        )
    release_memory()
    document: dict[str, Any] = {"run": str(folder), "space": run.config["space"], "epochs": config.epochs}
    if last:
        document |= {"loss": last[0].loss, "train_accuracy": last[0].accuracy}
    return document


def rounded_logits(
    evaluator: Evaluator, x: np.ndarray
) -> tuple[dict[str, np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """Weights and steps of a quantised subnet for its file, and the function that JAX computes with them.

    Args:
        evaluator: Of a run of a quantised supernet.
        x: Genotype.

    Returns:
        Arrays in the layouts of ONNX; and from images `[n, c, h, w]` to logits `[n, classes]`.
    """
    import jax.numpy as jnp

    from supernets.chain import forward
    from supernets.extraction import export_weights, slice_weights
    from supernets.folding import folded

    network = evaluator.space.network(x)
    stats = evaluator.calibrator(x, evaluator.calibration[network.size])
    tensors = slice_weights(evaluator.params, network, stats)
    params, plain = folded(tensors, network)

    def outputs(images: np.ndarray) -> np.ndarray:
        images = images.transpose(0, 2, 3, 1)
        batches = (jnp.asarray(images[i : i + _BATCH]) for i in range(0, len(images), _BATCH))
        return np.concatenate([np.asarray(forward(params, plain, batch, {})) for batch in batches])

    return export_weights(tensors), outputs


def _on_device(arrays: dict[Any, np.ndarray]) -> dict[Any, Any]:
    import jax.numpy as jnp

    return {name: jnp.asarray(value) for name, value in arrays.items()}
