"""A network of a front as a deployable ONNX file with a card that says how it was checked."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nas.console import progress
from nas.deploy import write_companions
from nas.errors import UserError
from nas.files import writable_folder, write_bytes, write_json
from nas.front import measure_networks
from nas.lock import locked
from nas.onnx_eval import accuracy, logits
from nas.pick import pick
from nas.runs import Run

FORMAT = 1
TOLERANCE = 1e-4  # largest difference of an output between Flax and ONNX Runtime, relative to outputs of order 1
CALIBRATION_IMAGES = 256
PIXELS_CHECKED = 1000  # test images through the file with preprocessing
AGREEMENT = 98.0  # percent of images that must get the same class from an INT8 file and from JAX


def export_picks(
    folder: Path, wishes: list[str], device_name: str, *, int8: bool = False, pixels: bool = False
) -> list[dict[str, Any]]:
    """Exports networks of a run's front: ONNX file, card, both in `export/`.

    Args:
        folder: The run.
        wishes: What to take, see `nas.pick`.
        device_name: Whose front, and where to measure.
        int8: Also write and measure a statically quantised version of each.
        pixels: Also write each with its preprocessing inside the graph, as `NAME.pixels.onnx`.

    Returns:
        The cards, in the order of the wishes (an INT8 version right after its original).

    Raises:
        UserError: if nothing fits a wish, or an exported file does not compute what Flax computes.
        RunError: if another process exports from the run.
    """
    run = Run.open(folder)
    with locked(run.folder, "nas export", part="export"):
        return _exported(run, wishes, device_name, int8, pixels)


def _exported(run: Run, wishes: list[str], device_name: str, int8: bool, pixels: bool) -> list[dict[str, Any]]:
    from latency_tables import get_device, onnx_model, quantize
    from latency_tables.pixels import with_preprocessing
    from nas.quantised import rounded_logits
    from nas.subnets import Subnets, flax_logits
    from supernets import export_weights
    from supernets.images import nchw
    from supernets.quantised import is_quantised

    device = get_device(device_name)
    document = run.read_front(device.name)
    chosen = [(wish, pick(document["front"], wish)) for wish in wishes]
    out = writable_folder(run.folder / "export")
    subnets = Subnets(run)
    rounded = is_quantised(subnets.params)
    if rounded and int8:
        raise UserError(
            f"Run {str(run.folder)!r} is of a quantised supernet: its files are INT8 as they are; drop --int8."
        )
    evaluator = subnets.evaluator()
    cards = []
    with progress("export") as update:
        for done, (wish, entry) in enumerate(chosen):
            update(done, len(chosen), wish)
            x = np.array(run.space.parse(entry["arch"]))
            size = run.space.network(x).size
            if rounded:
                weights, compute = rounded_logits(evaluator, x)
            else:
                module, tensors = evaluator.extracted(x)
                weights, compute = export_weights(tensors), flax_logits(module)
            model = onnx_model(run.space.network(x), weights, batch=device.batch)
            path = out / f"{file_name(wish)}.onnx"
            write_bytes(path, model.SerializeToString())
            labels, on_test = subnets.data.test_labels, partial(subnets.test_outputs, size=size)
            reference, check = on_test(compute), _check_classes if rounded else _check
            outputs = on_test(partial(logits, path))
            cards.append(card_of(run, wish, entry, path, outputs, reference, labels, rounded))
            check(path, outputs, reference)
            cards[-1]["input"] = {
                "size": size,
                "image_size": subnets.data.image_size,
                "channels": subnets.data.channels,
                "batch": device.batch,
            }
            if pixels:
                inside = with_preprocessing(model, subnets.data.mean, subnets.data.std, subnets.data.image_size)
                raw = subnets.data.test_images[:PIXELS_CHECKED]
                check(path.with_suffix(".pixels.onnx"), logits(inside.SerializeToString(), raw), reference[: len(raw)])
                write_bytes(path.with_suffix(".pixels.onnx"), inside.SerializeToString())
                cards[-1]["pixels_path"] = str(path.with_suffix(".pixels.onnx"))
            if int8:
                calibration = nchw(subnets.calibration_images(size)[:CALIBRATION_IMAGES])
                quantised = quantize(path, calibration, path.with_suffix(".int8.onnx"))
                card = card_of(
                    run, f"{wish}-int8", entry, quantised, on_test(partial(logits, quantised)), reference, labels
                )
                cards.append(card | {"precision": "int8", "predicted_latency_ms": None, "input": cards[-1]["input"]})
        update(len(chosen), len(chosen), "")
    with progress(f"measure on {device.name}") as update:
        latencies = measure_networks([Path(card["path"]) for card in cards], device, update)
    for card, latency in zip(cards, latencies, strict=True):
        card["latency_ms"] = {"median": latency.median_ms, "p10": latency.p10_ms, "p90": latency.p90_ms}
        card["latency_runs"] = latency.runs
        card["conditions"] = document["conditions"]
        limit = document["limit_ms"]
        card["meets_limit"] = None if limit is None else latency.median_ms <= limit
        card["limit_ms"] = limit
        write_json(Path(card["path"]).with_suffix(".json"), card)
        write_companions(card)
    return cards


def _check(path: Path, outputs: np.ndarray, reference: np.ndarray) -> None:
    """Refuses a file whose outputs are not those of Flax."""
    difference = float(np.abs(outputs - reference).max())
    if difference > TOLERANCE * max(1.0, float(np.abs(reference).max())):
        raise UserError(
            f"{path}: outputs differ from Flax by {difference:.2g}, more than {TOLERANCE:g} "
            "allowed; the file must not be deployed. Please report this network."
        )


def _check_classes(path: Path, outputs: np.ndarray, reference: np.ndarray) -> None:
    """Refuses an INT8 file that classifies otherwise than JAX; single roundings differ at ties, and what follows."""
    same = accuracy(outputs, reference.argmax(axis=1))
    if same < AGREEMENT:
        raise UserError(
            f"{path}: {same:.1f} % of the images get the class that JAX gives them, fewer than {AGREEMENT:g} %; "
            "the file must not be deployed. Please report this network."
        )


def card_of(
    run: Run,
    wish: str,
    entry: dict[str, Any],
    path: Path,
    outputs: np.ndarray,
    reference: np.ndarray,
    labels: np.ndarray,
    rounded: bool = False,
) -> dict[str, Any]:
    mean, std = run.config["data"]["mean"], run.config["data"]["std"]
    return {
        "format": FORMAT,
        "name": file_name(wish),
        "path": str(path),
        "space": run.config["space"],
        "arch": entry["arch"],
        "precision": "int8" if rounded else "fp32",
        "macs": entry["macs"],
        "params": entry["params"],
        "peak_memory_bytes": entry["peak_memory_bytes"],
        "accuracy": accuracy(outputs, labels),
        "accuracy_flax": accuracy(reference, labels),
        "accuracy_validation": entry["accuracy"],
        "test_images": len(labels),
        "predicted_latency_ms": entry["predicted_latency_ms"]["median"],
        "max_abs_diff": float(np.abs(outputs - reference).max()),
        "file_bytes": path.stat().st_size,
        "classes": run.config["data"]["class_names"],
        "preprocessing": {"scale": 1 / 255, "mean": mean, "std": std, "layout": "NCHW", "resize": "bilinear"},
        "data": run.config["data"]["source"],
    }


def file_name(wish: str) -> str:
    """A wish as a file name: latency_ms<=5 becomes latency_ms-le-5."""
    for sign, word in (("<=", "-le-"), (">=", "-ge-"), ("<", "-lt-"), (">", "-gt-")):
        wish = wish.replace(sign, word)
    return re.sub(r"[^\w.-]+", "_", wish).strip("_")
