"""One architecture of a run: trained on its own, or evaluated with the weights that it inherits."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.console import progress, say
from nas.errors import UserError
from nas.files import writable_folder, write_bytes, write_json
from nas.lock import locked
from nas.onnx_eval import accuracy, logits
from nas.subnets import Subnets

if TYPE_CHECKING:
    from search_spaces import Network
    from supernets import TrainConfig

FORMAT = 1
BATCH = 100


def evaluate(folder: Path, texts: list[str]) -> list[dict[str, Any]]:
    """Test accuracy (percent) of architectures with the supernet's weights, recalibrated, through ONNX Runtime."""
    from nas.runs import Run

    subnets = Subnets(Run.open(folder))
    evaluator, space = subnets.evaluator(), subnets.run.space
    found = []
    with progress("evaluate") as update:
        for done, text in enumerate(texts):
            update(done, len(texts), "")
            x = np.array(space.parse(text))
            network = space.network(x)
            found.append(
                {
                    "arch": space.to_text(x),
                    "accuracy": _test_accuracy(subnets, network, evaluator.weights(x)),
                    "accuracy_validation": evaluator(x),
                    "macs": network.macs,
                    "params": network.params,
                }
            )
        update(len(texts), len(texts), "")
    return found


def _test_accuracy(subnets: Subnets, network: "Network", weights: dict[str, np.ndarray]) -> float:
    from latency_tables import onnx_model

    labels = subnets.data.test_labels
    model = onnx_model(network, weights, batch=min(BATCH, len(labels))).SerializeToString()
    return accuracy(subnets.test_outputs(lambda images: logits(model, images), network.size), labels)


def _validation_accuracy(subnets: Subnets, network: "Network", weights: dict[str, np.ndarray]) -> float:
    from latency_tables import onnx_model
    from supernets.images import nchw

    labels = subnets.split.validation_labels
    model = onnx_model(network, weights, batch=min(BATCH, len(labels))).SerializeToString()
    return accuracy(logits(model, nchw(subnets.images(subnets.split.validation_images, network.size))), labels)


def searched(folder: Path, sampled: int) -> list[str]:
    """What a differentiable search of a run found: its most probable network, then those that it sampled.

    Raises:
        UserError: if the run has no such search, or it sampled fewer.
    """
    path = folder / "search" / "differentiable.json"
    if not path.is_file():
        raise UserError(f"{str(folder)!r} holds no differentiable search; train with --method proxyless or fbnet.")
    document = json.loads(path.read_text(encoding="utf-8"))
    if sampled > len(document["sampled"]):
        raise UserError(f"--sampled (={sampled}) must not exceed the {len(document['sampled'])} networks in {path}.")
    return [document["best"]["arch"], *(entry["arch"] for entry in document["sampled"][:sampled])]


def retrain(
    folder: Path,
    text: str,
    config: "TrainConfig",
    *,
    inherit: bool,
    teach: bool,
    devices: int | None = None,
    workers: int = 0,
) -> dict[str, Any]:
    """Trains one architecture of a run, and writes its checkpoints, an ONNX file and a card to `retrained/`.

    Args:
        folder: The run.
        text: The architecture.
        config: How to train; its method and architecture are set here.
        inherit: Start from the supernet's weights.
        teach: Learn from the supernet's largest network beside the labels.
        devices: How many to use.
        workers: Processes that decode streamed pictures; 0 for threads.

    Returns:
        The card: accuracies on the test images, costs, where the file is.
    """
    from latency_tables import onnx_model
    from nas.runs import Run
    from supernets import train
    from supernets.extraction import inherited

    run = Run.open(folder)
    subnets, space = Subnets(run), run.space
    arch = space.parse(text)
    network, text = space.network(arch), space.to_text(arch)
    config = replace(config, method="scratch", arch=text)
    kind = ("inherit" if inherit else "scratch") + ("-taught" if teach else "")
    name = f"{hashlib.sha256(text.encode()).hexdigest()[:8]}-{kind}"
    out = writable_folder(run.folder / "retrained" / name)
    largest = space.network(space.largest_at(network.size))
    with locked(run.folder, "nas retrain", part=name), progress("retrain") as update:

        def show(report: Any) -> None:
            if report.note:
                say(report.note)
            update(report.step, report.steps, f"loss {report.loss:.3f}, accuracy {report.accuracy:.1f} %")

        params = train(
            space,
            subnets.split.train_images,
            subnets.split.train_labels,
            mean=subnets.data.mean,
            std=subnets.data.std,
            config=config,
            folder=out / "checkpoints",
            on_step=show,
            start=inherited(subnets.params, network) if inherit else None,
            teacher=(_on_device(subnets.params), largest) if teach else None,
            devices=devices,
            workers=workers,
        )
    weights = subnets.trained_weights(params, network, config)
    path = out / "network.onnx"
    write_bytes(path, onnx_model(network, weights, batch=1).SerializeToString())
    card = {
        "format": FORMAT,
        "arch": text,
        "trained": kind,
        "epochs": config.epochs,
        "accuracy": _test_accuracy(subnets, network, weights),
        "accuracy_validation": _validation_accuracy(subnets, network, weights),
        "test_images": len(subnets.data.test_labels),
        "macs": network.macs,
        "params": network.params,
        "path": str(path),
    }
    write_json(path.with_suffix(".json"), card)
    return card


def _on_device(params: dict[str, np.ndarray]) -> dict[str, Any]:
    import jax.numpy as jnp

    return {name: jnp.asarray(value) for name, value in params.items()}
