"""Post-training quantisation of one exported file, with a report of what every operator lost and gained."""

import json
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.console import progress
from nas.deploy import write_companions
from nas.devices import executor_for
from nas.errors import UserError
from nas.files import write_json
from nas.front import measure_networks
from nas.onnx_eval import accuracy, logits
from nas.runs import Run

if TYPE_CHECKING:
    from latency_tables import Latency, Quantisation
    from search_spaces import Network
    from supernets.data.dataset import Dataset, Split

FORMAT = 1
JUDGED = 1000  # images that judge operators one by one, at most
_SHOWN = 64  # images whose outputs are compared operator by operator
_SECONDS = 30.0  # to measure both files
_RUN_LEVELS = 3  # a run's files lie so deep in its folder at most


@dataclass(frozen=True)
class Pictures:
    """Images as the network takes them, NCHW: to calibrate on, to judge operators by, and to test on."""

    calibration: np.ndarray
    judged: np.ndarray
    judged_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def quantize_file(
    path: Path,
    data: str | None,
    device_name: str,
    how: "Quantisation",
    *,
    images: int,
    each: bool,
    out: Path,
    seed: int,
    floats: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Quantises an exported file and compares it with what it was; the report goes beside it.

    Args:
        path: The fp32 file.
        data: Where pictures come from; by default the data of the run that the file lies in.
        device_name: Where to measure.
        how: Method and granularity.
        images: Training images to calibrate on.
        each: Also quantise every operator alone, and count the accuracy with only it quantised.
        out: The file to write.
        seed: Of the test images of a folder that has none of its own.
        floats: How names of operators begin that stay in float.

    Raises:
        UserError: if the file is none of ours, the pictures do not fit it, or no operator's name begins so.
    """
    from latency_tables import device_fingerprint, get_device
    from latency_tables.int8 import calibrated
    from latency_tables.int8_report import operator_reports

    device, network, card = get_device(device_name), exported_network(path), card_beside(path)
    names = [op.name for op in network]
    if unknown := [start for start in floats if not any(name.startswith(start) for name in names)]:
        raise UserError(
            f"--float (={unknown[0]!r}): no operator of {str(path)!r} begins so; the first is {names[0]!r}."
        )
    pictures = pictures_for(path, data, network, card, images, seed)
    with progress("quantize") as update, calibrated(path, pictures.calibration, how) as write:
        update(0, 1, f"{how.method} on {len(pictures.calibration)} images")
        write(out, [name for name in names if not name.startswith(floats)] if floats else None)
        alone = _alone(path, write, network, pictures, update) if each else {}
        with executor_for(device) as executor:
            rows = operator_reports(path, out, pictures.calibration[:_SHOWN], device, executor=executor)
    from latency_tables import Effort

    with progress(f"measure on {device.name}") as update:
        latencies = measure_networks([path, out], device, update, effort=Effort(seconds=_SECONDS))
    outputs = [logits(p, pictures.test) for p in (path, out)]
    states = [
        file_state(p, accuracy(y, pictures.test_labels), ms)
        for p, y, ms in zip((path, out), outputs, latencies, strict=True)
    ]
    document = {
        "format": FORMAT,
        "quantisation": asdict(how),
        "floats": list(floats),
        "calibration_images": len(pictures.calibration),
        "test_images": len(pictures.test_labels),
        "fp32": states[0],
        "int8": states[1],
        "same_class": accuracy(outputs[1], outputs[0].argmax(axis=1)),
        "conditions": device_fingerprint(device),
        "operators": [asdict(row) | {"sqnr_db": finite(row.sqnr_db), "alone": alone.get(row.name)} for row in rows],
    }
    write_json(out.with_suffix(".report.json"), document)
    if card is not None:
        write_card(card, document, latencies[1].runs, float(np.abs(outputs[1] - outputs[0]).max()))
    return document


def file_state(path: Path, percent: float, latency: "Latency") -> dict[str, Any]:
    """A file as reports have it: accuracy on the test images, latency, bytes."""
    times = {"median": latency.median_ms, "p10": latency.p10_ms, "p90": latency.p90_ms, "error": latency.error_ms}
    return {"path": str(path), "accuracy": percent, "latency_ms": times, "file_bytes": path.stat().st_size}


def exported_network(path: Path) -> "Network":
    """The network in an fp32 file of ours.

    Raises:
        UserError: if it is none.
    """
    import onnx

    from latency_tables.int8 import recorded_network

    if not path.is_file():
        raise UserError(f"There is no file {str(path)!r}; `nas export` writes ONNX files.")
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's own
        raise UserError(f"{str(path)!r} is no ONNX file; `nas export` writes them.") from error
    kinds = {node.op_type for node in model.graph.node}
    if kinds & {"QuantizeLinear", "QLinearConv"}:
        raise UserError(f"{str(path)!r} is quantised already; give the fp32 file.")
    if [value.type.tensor_type.elem_type for value in model.graph.input] != [onnx.TensorProto.FLOAT]:
        raise UserError(f"{str(path)!r} does not take one float32 image; give the file without preprocessing inside.")
    return recorded_network(model)


def card_beside(path: Path) -> dict[str, Any] | None:
    """The card beside a file, if there is one that can be read."""
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return card if isinstance(card, dict) and {"preprocessing", "input"} <= card.keys() else None


def pictures_for(
    path: Path,
    data: str | None,
    network: "Network",
    card: dict[str, Any] | None,
    images: int,
    seed: int,
    *,
    judged: int = JUDGED,
) -> Pictures:
    """Images for a file: those of its run, or others prepared as its card says; at most `judged` of validation."""
    from nas.train_run import recorded_data
    from supernets.data import load_dataset
    from supernets.images import nchw, prepare

    folder = next((p for p in path.resolve().parents[:_RUN_LEVELS] if (p / "config.json").is_file()), None)
    if data is None and folder is None:
        raise UserError(f"{str(path)!r} lies in no run, so its pictures are unknown; add --data.")
    if data is None:
        assert folder is not None
        run = Run.open(folder)
        found = recorded_data(run)
        split = found.split(run.config["data"]["validation"], run.config["seed"])
    else:
        side = card["input"]["image_size"] if card else None
        found = load_dataset(data, size=side, seed=seed)
        split = judged_split(found, judged, seed)
    wanted, given = (network.in_channels, network.num_classes), (found.channels, found.num_classes)
    if wanted != given:
        raise UserError(
            f"{str(path)!r} takes {wanted[0]} channel(s) and knows {wanted[1]} classes, the pictures have {given[0]} "
            f"and {given[1]}; give those that it was trained on with --data."
        )
    mean, std = found.mean, found.std
    if card:
        mean, std = (np.asarray(card["preprocessing"][key], np.float32) for key in ("mean", "std"))

    def ready(pixels: np.ndarray) -> np.ndarray:
        return nchw(np.asarray(prepare(pixels, mean, std, size=network.size)))

    return Pictures(
        ready(split.train_images[:images]),
        ready(split.validation_images[:judged]),
        split.validation_labels[:judged],
        ready(found.test_images[:]),
        found.test_labels,
    )


def judged_split(found: "Dataset", judged: int, seed: int) -> "Split":
    """Pictures outside a run: those to judge by are a sixth of the training images, `judged` at most."""
    return found.split(max(1, min(judged, len(found.train_images) // 6)), seed)


def _alone(path: Path, write: Any, network: "Network", pictures: Pictures, update: Any) -> dict[str, dict[str, Any]]:
    """Accuracy, percent, and SQNR of the logits with only one operator quantised, by its name."""
    from latency_tables.int8_report import sqnr_db

    exact = logits(path, pictures.judged)
    base, found = accuracy(exact, pictures.judged_labels), {}
    with tempfile.TemporaryDirectory() as folder:
        for done, op in enumerate(network):
            update(done, len(network.operators), op.name)
            y = logits(write(Path(folder, "alone.onnx"), [op.name]), pictures.judged)
            noise = sqnr_db(float((exact**2).sum()), float(((y - exact) ** 2).sum()))
            change = accuracy(y, pictures.judged_labels) - base
            found[op.name] = {"accuracy_change": change, "sqnr_db": finite(noise)}
    return found


def finite(value: float) -> float | None:
    """For JSON, which has neither infinity nor what is no number."""
    return value if math.isfinite(value) else None


def write_card(
    card: dict[str, Any], document: dict[str, Any], runs: int, difference: float, precision: str = "int8"
) -> None:
    """The card of the quantised file, with the program and the model card that go with it.

    Args:
        card: Of the fp32 file.
        document: The report; the file is its part of that name.
        runs: Recorded calls.
        difference: Largest of any logit from the fp32 file's.
        precision: "int8" or "mixed".
    """
    state = document[precision]
    path = Path(state["path"])
    latency = {key: state["latency_ms"][key] for key in ("median", "p10", "p90")}
    limit = card.get("limit_ms")
    quantised = card | {
        "name": path.stem,
        "path": str(path),
        "precision": precision,
        "accuracy": state["accuracy"],
        "latency_ms": latency,
        "latency_runs": runs,
        "predicted_latency_ms": None,
        "conditions": document["conditions"],
        "limit_ms": limit,
        "meets_limit": None if limit is None else latency["median"] <= limit,
        "max_abs_diff": difference,
        "file_bytes": state["file_bytes"],
        "test_images": document["test_images"],
        "quantisation": document["quantisation"],
    }
    quantised.pop("pixels_path", None)
    write_json(path.with_suffix(".json"), quantised)
    if {"arch", "space", "classes", "accuracy_validation"} <= quantised.keys():
        write_companions(quantised)


def still_in_float(document: dict[str, Any]) -> list[str]:
    """What of a report's network runs in float: a line for every set of kernels, with the operators."""
    found: dict[str, list[str]] = {}
    for row in document["operators"]:
        if row["float_kernels"]:
            found.setdefault(", ".join(row["float_kernels"]), []).append(row["name"])
    return [f"{kernels} in {len(names)} operators: {', '.join(names)}" for kernels, names in found.items()]
