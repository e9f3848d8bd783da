"""Mixed precision on trained networks: latency saved at 99.9 % of the accuracy, by the order of quantisation.

    .venv/bin/python scripts/bench_mixed_precision.py DATA build/mixed --file runs/demo/export/knee.onnx
    .venv/bin/python scripts/bench_mixed_precision.py DATA build/mixed --quick    # one network, one epoch

DATA is as for `nas train`; 64 px pictures of 10 classes were used (Imagenette), at 48 px. Networks, once trained,
and the files of every order stay in the folder (a quarter of an hour a network on two cores): run again, only the
measuring is done anew. The last result is kept in benchmarks/mixed-precision.json.
"""

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from nas.console import emit_json, print_table, progress
from nas.files import write_bytes, write_json
from nas.front import measure_networks
from nas.mixed_run import Trial, sensitivities, within_budget
from nas.onnx_eval import accuracy, logits
from nas.precision.sensitivity import ordered
from nas.quantize_run import Pictures, card_beside, exported_network, pictures_for
from search_spaces import Network, get_space

RESULT = Path(__file__).resolve().parents[1] / "benchmarks" / "mixed-precision.json"
BUDGET = 99.9
RANDOM_SEEDS = 3
DEVICE = "local-cpu-1t"
_VALIDATION, _CALIBRATION, _SHOWN = 1000, 256, 64


@dataclass(frozen=True)
class Subject:
    """A network to train: the `seed`-th random one of a space, or the smallest."""

    space: str
    epochs: int
    options: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    lr: float = 0.05


SUBJECTS = {
    "ofa_resnet50": Subject("ofa_resnet50", 3, {"resolutions": 48}),
    "proxyless": Subject("proxyless", 3, {"image_size": 48}, seed=3),
    "mnasnet": Subject("mnasnet", 3, {"image_size": 48}, seed=3),
}


def main(
    data: str,
    folder: Path,
    networks: Annotated[str, typer.Option(help="Of those to train, joined by commas.")] = ",".join(SUBJECTS),
    file: Annotated[list[Path] | None, typer.Option(help="Also this exported file of a run; may be repeated.")] = None,
    quick: bool = False,
    seconds: float = 60.0,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Prints what every order keeps in float, its accuracy, and the latency it saves."""
    from latency_tables import device_fingerprint, get_device

    rows = []
    for name in networks.split(",")[: 1 if quick else None] if networks else ():
        subject, place = SUBJECTS[name], folder / name
        place.mkdir(parents=True, exist_ok=True)
        network = trained(subject, data, place, epochs=1 if quick else subject.epochs)
        pictures = pictures_for(place / "fp32.onnx", data, network, None, _CALIBRATION, 0)
        rows.append(measured(name, network, place, pictures, searched(network, place, pictures), seconds))
    for path in file or ():
        name = f"{path.resolve().parents[1].name}/{path.stem}"
        place = folder / name.replace("/", "-")
        place.mkdir(parents=True, exist_ok=True)
        network, pictures = exported_network(path), pictures_for(path, None, *_described(path), _CALIBRATION, 0)
        write_bytes(place / "fp32.onnx", path.read_bytes())
        rows.append(measured(name, network, place, pictures, searched(network, place, pictures), seconds))
    conditions = device_fingerprint(get_device(DEVICE))
    document = {"budget": BUDGET, "data": Path(data).name, "conditions": conditions, "networks": rows}
    if not quick:
        write_json(RESULT, document)
    if as_json:
        emit_json(document)
        return
    for row in rows:
        print_table(
            f"{row['network']}, {row['macs'] / 1e6:.0f} M MACs, {row['operators']} operators, {row['faster']} of them "
            f"faster on integers; {row['test_images']} test images",
            ("file", "on integers", "validation %", "test %", "ms", "saved"),
            [
                (
                    f["file"],
                    f["on_integers"],
                    f"{f['validation']:.2f}",
                    f"{f['test']:.2f}",
                    f"{f['latency_ms']:.3f}",
                    f"{f['saved']:.1%}",
                )
                for f in row["files"]
            ],
        )


def _described(path: Path) -> tuple[Network, dict[str, Any] | None]:
    return exported_network(path), card_beside(path)


def trained(subject: Subject, data: str, place: Path, epochs: int) -> Network:
    """Trains a network on its own, unless that was done before, and writes fp32.onnx."""
    import jax.numpy as jnp

    from latency_tables import onnx_model
    from supernets import TrainConfig, export_weights, slice_weights, train
    from supernets.calibrate import network_moments
    from supernets.data import load_dataset
    from supernets.inputs import Recipe, seen_images

    found = load_dataset(data, seed=0)
    space = get_space(subject.space, **subject.options, num_classes=found.num_classes)
    x = space.canonical(np.zeros(len(space.genes), dtype=np.int64))[0]
    if subject.seed is not None:
        x = space.sample(np.random.default_rng(subject.seed), 1)[0]
    network, path = space.network(x).live, place / "fp32.onnx"
    if path.is_file():
        return network
    split = found.split(min(_VALIDATION, len(found.train_images) // 6), 0)
    config = TrainConfig(
        method="scratch", arch=space.to_text(x), epochs=epochs, warm_epochs=0, batch_size=64, peak_lr=subject.lr
    )
    with progress(f"train {subject.space}") as update:
        params = train(
            space,
            split.train_images,
            split.train_labels,
            mean=found.mean,
            std=found.std,
            config=config,
            folder=place / "checkpoints",
            on_step=lambda r: update(r.step, r.steps, f"loss {r.loss:.3f}, accuracy {r.accuracy:.1f} %"),
        )
    recipe = Recipe.of(config, found.mean, found.std)
    images = seen_images(split.train_images, recipe, count=1000, size=network.size)
    weights = export_weights(slice_weights(params, network, network_moments(params, network, jnp.asarray(images))))
    write_bytes(path, onnx_model(network, weights).SerializeToString())
    return network


def searched(network: Network, place: Path, pictures: Pictures) -> dict[str, Any]:
    """Quantises by every order within the budget, unless that was done before; files in `place`."""
    from latency_tables import get_device
    from latency_tables.int8 import calibrated
    from latency_tables.int8_report import operator_reports

    kept = place / "orders.json"
    if kept.is_file():
        document: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return document
    source, orders = place / "fp32.onnx", {}
    with tempfile.TemporaryDirectory() as folder, calibrated(source, pictures.calibration) as write:
        whole = write(place / "int8.onnx")
        trial = Trial(network, write, pictures, Path(folder))
        profile = operator_reports(source, whole, pictures.calibration[:_SHOWN], get_device(DEVICE))
        faster = {row.name for row in profile if row.int8_ms < row.fp32_ms}
        known = sensitivities(source, whole, trial, "augmented", 0)
        chosen = [("augmented", 0), ("hessian", 0), *(("random", seed) for seed in range(RANDOM_SEEDS))]
        for order, seed in chosen:
            sequence = ordered(known, order, seed)
            k, tried = within_budget(trial, source, sequence, BUDGET)
            name = f"random-{seed}" if order == "random" else order
            write(place / f"{name}.onnx", sequence[:k])
            orders[name] = {"on_integers": sequence[:k], "tried": tried}
    everything = [op.name for op in network]
    document = {"orders": orders, "faster": len(faster), "operators": everything}
    write_json(kept, document)
    return document


def measured(
    name: str, network: Network, place: Path, pictures: Pictures, found: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """All files of a network timed in turns, with their accuracies."""
    from latency_tables import Effort, get_device

    names = ["fp32", "int8", *found["orders"]]
    paths = [place / f"{name}.onnx" for name in names]
    with progress(f"measure {name}") as update:
        latencies = measure_networks(paths, get_device(DEVICE), update, effort=Effort(seconds=seconds))
    files = []
    counts = {"fp32": 0, "int8": len(found["operators"])}
    counts |= {order: len(made["on_integers"]) for order, made in found["orders"].items()}
    for kind, path, latency in zip(names, paths, latencies, strict=True):
        files.append(
            {
                "file": kind,
                "on_integers": counts[kind],
                "validation": accuracy(logits(path, pictures.judged), pictures.judged_labels),
                "test": accuracy(logits(path, pictures.test), pictures.test_labels),
                "latency_ms": latency.median_ms,
                "error_ms": latency.error_ms,
                "saved": 1 - latency.median_ms / latencies[0].median_ms,
            }
        )
    return {
        "network": name,
        "macs": network.macs,
        "operators": len(network.operators),
        "faster": found["faster"],
        "test_images": len(pictures.test_labels),
        "files": files,
    }


if __name__ == "__main__":
    typer.run(main)
