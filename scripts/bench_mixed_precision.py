"""Mixed precision on trained networks: latency saved at 99.9 % of the accuracy, by the order of quantisation.

    .venv/bin/python scripts/bench_mixed_precision.py DATA build/mixed --only train --epochs 60 --batch 1024
    .venv/bin/python scripts/bench_mixed_precision.py DATA build/mixed
    .venv/bin/python scripts/bench_mixed_precision.py DATA build/mixed --per-tensor
    .venv/bin/python scripts/bench_mixed_precision.py DATA build/mixed --networks '' --file runs/demo/export/knee.onnx
    .venv/bin/python scripts/bench_mixed_precision.py DATA build/quick --quick    # one network, hardly trained

DATA is as for `nas train`; CIFAR-10-JPEG was used. Training wants a GPU (the first command), the rest the device that
is measured. Networks, once trained, and the files of every order stay in the folder: run again, only the measuring is
done anew. The last results, with a step a channel and with one a weight (--per-tensor), are kept in
benchmarks/mixed-precision*.json.
"""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from nas.console import emit_json, print_table, progress
from nas.files import write_bytes, write_json
from nas.front import measure_networks
from nas.jax_setup import keep_programs
from nas.mixed_run import JUDGED
from nas.onnx_eval import accuracy
from nas.precision.allowed import DEPENDENCIES, Budget, allowed
from nas.precision.estimates import sensitivities
from nas.precision.timing import operator_times
from nas.precision.trial import Trial, batched
from nas.quantize_run import Pictures, card_beside, exported_network, judged_split, pictures_for
from search_spaces import Network, get_space

if TYPE_CHECKING:
    from latency_tables import Quantisation

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks"
BUDGET = 99.9
RANDOM_SEEDS = 3
ORDERS_FORMAT = 2  # of orders.json; 2: dependencies beside the Hessian's set, bisection that looks further
DEVICE = "local-cpu-1t"
_CALIBRATION, _SHOWN = 256, 64


@dataclass(frozen=True)
class Subject:
    """A network to train: the `seed`-th random one of a space, or the smallest."""

    space: str
    options: dict[str, Any]
    seed: int | None = None


@dataclass(frozen=True)
class Training:
    """How all of them are trained."""

    epochs: int
    batch: int
    images: int | None = None  # of the data's, by default all


SUBJECTS = {
    "ofa_resnet50": Subject("ofa_resnet50", {"resolutions": 32, "stem_stride": 1}),
    "proxyless": Subject("proxyless", {"image_size": 32, "stem_stride": 1}, seed=3),
    "mnasnet": Subject("mnasnet", {"image_size": 32, "stem_stride": 1}, seed=3),
}


def main(
    data: str,
    folder: Path,
    networks: Annotated[str, typer.Option(help="Of those to train, joined by commas.")] = ",".join(SUBJECTS),
    file: Annotated[list[Path] | None, typer.Option(help="Also this exported file of a run; may be repeated.")] = None,
    epochs: Annotated[int, typer.Option(help="Of the networks' training.")] = 3,
    batch: Annotated[int, typer.Option(help="Images a step.")] = 128,
    per_tensor: Annotated[bool, typer.Option(help="One scale a weight, ONNX Runtime's own default.")] = False,
    only: Annotated[str, typer.Option(help="train, or all.")] = "all",
    quick: bool = False,
    seconds: float = 60.0,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Prints what every order keeps in float, its accuracy, and the latency it saves."""
    from latency_tables import Quantisation, device_fingerprint, get_device

    keep_programs()
    training = Training(1, 64, 2000) if quick else Training(epochs, batch)
    how, rows = Quantisation(per_channel=not per_tensor), []
    for name in networks.split(",")[: 1 if quick else None] if networks else ():
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        network = trained(SUBJECTS[name], data, place, training)
        if only == "train":
            continue
        pictures = pictures_for(place / "fp32.onnx", data, network, None, _CALIBRATION, 0, judged=JUDGED)
        rows.append(measured(name, network, place, pictures, searched(network, place, pictures, how), seconds))
    for path in file or ():
        name = f"{path.resolve().parents[1].name}/{path.stem}"
        place = folder / name.replace("/", "-")
        place.mkdir(parents=True, exist_ok=True)
        network, card = exported_network(path), card_beside(path)
        pictures = pictures_for(path, None, network, card, _CALIBRATION, 0, judged=JUDGED)
        write_bytes(place / "fp32.onnx", path.read_bytes())
        rows.append(measured(name, network, place, pictures, searched(network, place, pictures, how), seconds))
    if only == "train":
        return
    conditions = device_fingerprint(get_device(DEVICE))
    document = {"budget": BUDGET, "data": Path(data).name, "quantisation": asdict(how), "conditions": conditions}
    document["networks"] = rows
    if not quick:
        write_json(RESULTS / f"mixed-precision{'-per-tensor' if per_tensor else ''}.json", document)
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


def trained(subject: Subject, data: str, place: Path, how: Training) -> Network:
    """Trains a network on its own, unless that was done before, and writes fp32.onnx."""
    from train_alone import recipe, trained_alone

    from supernets.data import load_dataset

    found = load_dataset(data, seed=0)
    space = get_space(subject.space, **subject.options, num_classes=found.num_classes)
    x = space.canonical(np.zeros(len(space.genes), dtype=np.int64))[0]
    if subject.seed is not None:
        x = space.sample(np.random.default_rng(subject.seed), 1)[0]
    config = recipe(how.epochs, how.batch)
    return trained_alone(space, x, found, judged_split(found, JUDGED, 0), config, place, how.images)


def searched(network: Network, place: Path, pictures: Pictures, how: "Quantisation") -> dict[str, Any]:
    """Quantises by every order within the budget, unless that was done before; files in `place`."""
    from latency_tables import get_device
    from latency_tables.int8 import calibrated
    from latency_tables.int8_report import operator_reports

    kept, device = place / "orders.json", get_device(DEVICE)
    document: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    made_as = {"format": ORDERS_FORMAT, "budget": BUDGET, "quantisation": asdict(how)}
    if {key: document.get(key) for key in made_as} == made_as:
        return document
    source, orders = place / "fp32.onnx", {}
    with tempfile.TemporaryDirectory() as folder, calibrated(source, pictures.calibration, how) as write:
        whole = write(place / "int8.onnx")
        trial = Trial(network, write, pictures, Path(folder))
        profile = operator_reports(source, whole, pictures.calibration[:_SHOWN], device)
        times = operator_times(source, whole, profile, trial, device, 0)
        known = sensitivities(source, whole, trial, "augmented", 0)
        budget = Budget(network, times, trial, trial.accuracy(()), BUDGET)
        known, ours = allowed(budget, known, "augmented", 0)
        # the first round of the order with dependencies is the order by the Hessian alone
        found = {f"hessian {aim}" if DEPENDENCIES not in aim else f"augmented {aim}": ours[aim] for aim in ours}
        for seed in range(RANDOM_SEEDS):
            found |= {f"random {seed} {aim}": each for aim, each in allowed(budget, known, "random", seed)[1].items()}
        for name, each in found.items():
            kept_as = name.removesuffix(DEPENDENCIES).replace(" ", "-")
            write(place / f"{kept_as}.onnx", each.operators)
            orders[kept_as] = {"on_integers": list(each.operators), "tried": each.tried}
    document = made_as | {
        "orders": orders,
        "faster": sum(row.int8_ms < row.fp32_ms for row in profile),
        "conversions": asdict(times.conversions),
        "sensitivities": {name: asdict(known[name]) for name in known},
        "int8_ms": dict(times.on_integers),
        "fp32_ms": dict(times.in_float),
    }
    write_json(kept, document)
    return document


def measured(
    name: str, network: Network, place: Path, pictures: Pictures, found: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """All files of a network timed in turns, with their accuracies."""
    from latency_tables import Effort, get_device

    sets = {"fp32": frozenset(), "int8": frozenset(op.name for op in network)}
    sets |= {order: frozenset(made["on_integers"]) for order, made in found["orders"].items()}
    # equal files are timed once: two sessions of one file differ by a few percent for as long as they live
    paths = {chosen: place / f"{kind}.onnx" for kind, chosen in reversed(sets.items())}
    with progress(f"measure {name}") as update:
        latencies = measure_networks([*paths.values()], get_device(DEVICE), update, effort=Effort(seconds=seconds))
    by_set, files = dict(zip(paths, latencies, strict=True)), []
    for kind, chosen in sets.items():
        path, latency = paths[chosen], by_set[chosen]
        files.append(
            {
                "file": kind,
                "on_integers": len(chosen),
                "validation": accuracy(batched(path, pictures.judged), pictures.judged_labels),
                "test": accuracy(batched(path, pictures.test), pictures.test_labels),
                "latency_ms": latency.median_ms,
                "error_ms": latency.error_ms,
                "saved": 1 - latency.median_ms / by_set[sets["fp32"]].median_ms,
            }
        )
    return {
        "network": name,
        "macs": network.macs,
        "operators": len(network.operators),
        "faster": found["faster"],
        "conversions": found["conversions"],
        "validation_images": len(pictures.judged_labels),
        "test_images": len(pictures.test_labels),
        "saved": {order: kept_ones(files, order) for order in ("augmented", "hessian", "random")},
        "files": files,
    }


def kept_ones(files: list[dict[str, Any]], order: str) -> list[float]:
    """What an order saves: the fastest of its files, as `nas quantize --budget` keeps it; one for every seed.

    Those by the Hessian alone are among those with dependencies.
    """
    starts: dict[str, list[tuple[str, ...]]] = {
        "augmented": [("hessian", "augmented")],
        "hessian": [("hessian",)],
        "random": [(f"random-{seed}-",) for seed in range(RANDOM_SEEDS)],
    }
    return [max(f["saved"] for f in files if f["file"].startswith(start)) for start in starts[order]]


if __name__ == "__main__":
    typer.run(main)
