"""Quantised-for-all subnets: accuracy in JAX, of the exported file, and against post-training quantisation.

    .venv/bin/python scripts/bench_qfa.py runs/mine runs/mine-int8 build/qfa
    .venv/bin/python scripts/bench_qfa.py runs/mine runs/mine-int8 build/qfa --quick    # three subnets

runs/mine-int8 is what `nas train SPACE --method qfa --from runs/mine --out runs/mine-int8` made. Of every subnet three
files are written and run over the whole test set: the fp32 one of the first run, the same one quantised after the
training (min-max, per channel, 256 training images), and that of the second run. What is measured stays in the
folder, so that a killed benchmark goes on. The last result is kept in benchmarks/qfa.json.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from nas.console import emit_json, print_table, progress
from nas.files import write_bytes, write_json
from nas.onnx_eval import accuracy, logits
from nas.quantised import rounded_logits
from nas.runs import Run
from nas.subnets import Evaluator, Subnets
from search_spaces import Space

RESULT = Path(__file__).resolve().parents[1] / "benchmarks" / "qfa.json"
ASKED = {"largest_difference": 0.3, "median_drop": 0.5}
_CALIBRATION, _BATCH = 256, 100


def main(
    plain: Annotated[Path, typer.Argument(help="Run of the fp32 supernet.")],
    rounded: Annotated[Path, typer.Argument(help="Run of the quantised one, made from it.")],
    folder: Path,
    subnets: int = 20,
    threads: int = 2,
    quick: bool = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Prints the accuracies of the largest, the smallest and random subnets."""
    folder.mkdir(parents=True, exist_ok=True)
    first, second = Subnets(Run.open(plain)), Subnets(Run.open(rounded))
    space = second.run.space
    with progress("subnets") as update:
        chosen = genotypes(space, 3 if quick else subnets)
        rows = []
        evaluators = first.evaluator(), second.evaluator()
        for done, x in enumerate(chosen):
            update(done, len(chosen), space.to_text(x))
            path = folder / f"{space.to_text(x)}.json"
            if not path.is_file():
                write_json(path, measured(x, (first, second), evaluators, folder, threads))
            rows.append(json.loads(path.read_text(encoding="utf-8")))
    found = summary(rows)
    document = {
        "space": second.run.config["space"],
        "data": second.run.config["data"]["name"],
        "train": {run.name: run.config["train"] for run in (first.run, second.run)},
        "test_images": len(second.data.test_labels),
        **found,
        "asked": ASKED,
        "subnets": rows,
    }
    if not quick:
        write_json(RESULT, document)
    if as_json:
        emit_json(document)
        return
    columns = ("subnet", "M MACs", "fp32 %", "in JAX %", "its file %", "same class %", "after training %")
    fields = ("fp32", "jax", "file", "same_class", "after_training")
    texts = [(row["arch"], f"{row['macs'] / 1e6:.1f}", *(f"{row[f]:.2f}" for f in fields)) for row in rows]
    print_table(f"{document['test_images']} test images", columns, texts)
    print(json.dumps(found, indent=1))


def genotypes(space: Space, n: int) -> list[np.ndarray]:
    """The largest, the smallest and random ones, `n` in all."""
    largest = space.largest
    return [largest, np.zeros_like(largest), *space.sample(np.random.default_rng(0), n - 2)]


def measured(
    x: np.ndarray, subnets: tuple[Subnets, Subnets], evaluators: tuple[Evaluator, Evaluator], folder: Path, threads: int
) -> dict[str, Any]:
    """Accuracies of a subnet over the test set, percent."""
    from latency_tables import onnx_model, quantize
    from supernets.images import nchw

    network = subnets[0].run.space.network(x)
    labels = subnets[1].data.test_labels

    def over_test(path: Path) -> np.ndarray:
        return subnets[1].test_outputs(lambda images: logits(path, images, threads=threads), network.size)

    fp32, after, own = (folder / f"{name}.onnx" for name in ("fp32", "after", "own"))
    write_bytes(fp32, onnx_model(network, evaluators[0].weights(x), batch=_BATCH).SerializeToString())
    calibration = nchw(subnets[0].calibration_images(network.size)[:_CALIBRATION])
    quantize(fp32, calibration, after)
    weights, compute = rounded_logits(evaluators[1], x)
    write_bytes(own, onnx_model(network, weights, batch=_BATCH).SerializeToString())
    in_jax, in_file = subnets[1].test_outputs(compute, network.size), over_test(own)
    return {
        "arch": subnets[0].run.space.to_text(x),
        "macs": network.macs,
        "fp32": accuracy(over_test(fp32), labels),
        "jax": accuracy(in_jax, labels),
        "file": accuracy(in_file, labels),
        "same_class": accuracy(in_file, in_jax.argmax(axis=1)),
        "after_training": accuracy(over_test(after), labels),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Differences in points."""
    drops = {name: [row["fp32"] - row[name] for row in rows] for name in ("file", "after_training")}
    return {
        "largest_difference": max(abs(row["jax"] - row["file"]) for row in rows),
        "median_drop": float(np.median(drops["file"])),
        "mean_drop": float(np.mean(drops["file"])),
        "median_drop_after_training": float(np.median(drops["after_training"])),
        "mean_drop_after_training": float(np.mean(drops["after_training"])),
        "better_than_after_training": sum(row["file"] > row["after_training"] for row in rows),
    }


if __name__ == "__main__":
    typer.run(main)
