"""Mixed precision of one exported file: the most operators on integers that an accuracy budget allows."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.console import progress
from nas.devices import executor_for
from nas.errors import UserError
from nas.files import write_json
from nas.front import measure_networks
from nas.onnx_eval import accuracy, logits
from nas.precision.bisection import longest_prefix
from nas.precision.sensitivity import ORDERS, Sensitivity, interactions, ordered, rounded_blocks
from nas.quantize_run import Pictures, card_beside, exported_network, file_state, finite, pictures_for, write_card

if TYPE_CHECKING:
    from latency_tables import Quantisation
    from latency_tables.int8 import Write
    from search_spaces import Network

FORMAT = 1
_SHOWN = 64  # images that the profile's noise is computed on
_HESSIAN_IMAGES = 32
_PROBES, _ENOUGH = (4, 16), 0.1  # for an order, and operators differ by factors
_DIVERGENCE_IMAGES = 128
_SECONDS = 60.0  # to measure the four files


@dataclass(frozen=True)
class Wish:
    """What is asked of a mixed file.

    Attributes:
        budget: Accuracy to keep, percent of the fp32 file's, on the validation images.
        order: In which operators are quantised, one of `ORDERS`.
    """

    budget: float = 99.9
    order: str = "augmented"

    def __post_init__(self) -> None:
        if not 0 < self.budget <= 100:
            raise UserError(f"--budget (={self.budget:g}) must be above 0 and at most 100: percent of fp32's accuracy.")
        if self.order not in ORDERS:
            raise UserError(f"--order (={self.order!r}) must be one of: {', '.join(ORDERS)}.")


def mix_file(
    path: Path,
    data: str | None,
    device_name: str,
    how: "Quantisation",
    wish: Wish,
    *,
    images: int,
    out: Path,
    seed: int,
) -> dict[str, Any]:
    """Quantises as many operators of an exported file as a budget allows; the report goes beside it.

    Out of all operators, and out of those alone that are faster on integers: one on its own may be slower and the
    file yet faster, as its neighbours need no conversions. The faster of both files stays.

    Args:
        path: The fp32 file.
        data: Where pictures come from; by default the data of the run that the file lies in.
        device_name: Where to measure.
        how: Method and granularity.
        wish: Budget and order.
        images: Training images to calibrate on.
        out: The file to write.
        seed: Of random choices.

    Returns:
        The report: "fp32", "int8" (all operators) and "mixed", measured in one run, and "operators".

    Raises:
        UserError: if the file is none of ours, or the pictures do not fit it.
    """
    from latency_tables import Effort, device_fingerprint, get_device
    from latency_tables.int8 import calibrated
    from latency_tables.int8_report import operator_reports

    device, network, card = get_device(device_name), exported_network(path), card_beside(path)
    pictures = pictures_for(path, data, network, card, images, seed)
    with tempfile.TemporaryDirectory() as folder, calibrated(path, pictures.calibration, how) as write:
        whole = write(Path(folder, "int8.onnx"))
        with executor_for(device) as executor:
            rows = operator_reports(path, whole, pictures.calibration[:_SHOWN], device, executor=executor)
        trial = Trial(network, write, pictures, Path(folder))
        found = sensitivities(path, whole, trial, wish.order, seed)
        faster = {row.name for row in rows if row.int8_ms < row.fp32_ms}
        every = ordered(found, wish.order, seed)
        sequences = {"all": every, "faster": [name for name in every if name in faster]}
        within = {name: within_budget(trial, path, some, wish.budget) for name, some in sequences.items()}
        made = [write(Path(folder, f"{name}.onnx"), some[: within[name][0]]) for name, some in sequences.items()]
        with progress(f"measure on {device.name}") as update:
            effort = Effort(seconds=_SECONDS)
            measured = measure_networks([path, whole, *made], device, update, effort=effort, seed=seed)
        candidates = dict(zip(sequences, measured[2:], strict=True))
        chosen = min(candidates, key=lambda name: candidates[name].median_ms)
        sequence, (k, tried) = sequences[chosen], within[chosen]
        write(out, sequence[:k])
        paths, latencies = [path, whole, out], [*measured[:2], candidates[chosen]]
        outputs = [logits(p, pictures.test) for p in paths]
        states = [
            file_state(p, accuracy(y, pictures.test_labels), ms)
            for p, y, ms in zip(paths, outputs, latencies, strict=True)
        ]
    del states[1]["path"]  # it is not kept
    document = {
        "format": FORMAT,
        "quantisation": asdict(how),
        **asdict(wish),
        "calibration_images": len(pictures.calibration),
        "validation_images": len(pictures.judged_labels),
        "test_images": len(pictures.test_labels),
        **dict(zip(("fp32", "int8", "mixed"), states, strict=True)),
        "candidates": chosen,
        "candidates_ms": {name: latency.median_ms for name, latency in candidates.items()},
        "validation_accuracy": tried,
        "same_class": accuracy(outputs[2], outputs[0].argmax(axis=1)),
        "conditions": device_fingerprint(device),
        "operators": [
            {
                "name": row.name,
                "key": row.key,
                "precision": "int8" if row.name in sequence[:k] else "fp32",
                "why": _why(row.name, sequence, k),
                "hessian": finite(found[row.name].hessian),
                "between": found[row.name].between,
                "fp32_ms": row.fp32_ms,
                "int8_ms": row.int8_ms,
            }
            for row in rows
        ],
    }
    write_json(out.with_suffix(".report.json"), document)
    if card is not None:
        write_card(card, document, latencies[2].runs, float(np.abs(outputs[2] - outputs[0]).max()), "mixed")
    return document


@dataclass(frozen=True)
class Trial:
    """Files with some operators quantised, tried on images.

    Attributes:
        network: What they hold.
        write: Of `calibrated`.
        pictures: Images.
        folder: For the files.
    """

    network: "Network"
    write: "Write"
    pictures: Pictures
    folder: Path

    def outputs(self, operators: Sequence[str], images: np.ndarray) -> np.ndarray:
        """Logits `[n, classes]` of images `[n, c, h, w]`."""
        return batched(self.write(self.folder / "trial.onnx", operators), images)


def batched(path: Path, images: np.ndarray) -> np.ndarray:
    """Logits of a file, many images at once."""
    import onnx

    from latency_tables.int8 import any_batch

    return logits(any_batch(onnx.load(path)).SerializeToString(), images)


def sensitivities(path: Path, whole: Path, trial: Trial, order: str, seed: int) -> dict[str, Sensitivity]:
    """Of every operator, as far as an order needs them.

    Args:
        path: The fp32 file.
        whole: The file with all operators quantised.
        trial: To try others.
        order: One of `ORDERS`.
        seed: Of probes.
    """
    names = [op.name for op in trial.network]
    if order == "random":
        return {name: Sensitivity(float("nan")) for name in names}
    hessian = _hessian(path, whole, trial, seed)
    if order == "hessian":
        return {name: Sensitivity(value) for name, value in hessian.items()}
    images = trial.pictures.calibration[:_DIVERGENCE_IMAGES]
    exact = batched(path, images)
    with progress("dependencies") as update:
        between = interactions(
            names,
            lambda chosen: divergence(exact, trial.outputs(chosen, images) if chosen else exact),
            lambda done: update(done, len(names), ""),
        )
    return {name: Sensitivity(hessian[name], between[name]) for name in names}


def _hessian(path: Path, whole: Path, trial: Trial, seed: int) -> dict[str, float]:
    import onnx

    from latency_tables.rounding_errors import constants, rounding_errors
    from nas.precision.differentiable import divergence_of_file
    from supernets.hessian import block_traces

    model = onnx.load(path)
    image_step, errors = rounding_errors(model, onnx.load(whole), trial.network)
    loss, point, _ = divergence_of_file(trial.network, constants(model), trial.pictures.calibration[:_HESSIAN_IMAGES])
    blocks = rounded_blocks(trial.network, image_step, errors)
    with progress("Hessian") as update:
        traces = block_traces(
            loss,
            point,
            blocks,
            seed=seed,
            probes=_PROBES,
            tolerance=_ENOUGH,
            on_block=lambda done: update(done, len(blocks), ""),
        )
    return {name: trace.mean / 2 for name, trace in traces.items()}


def divergence(exact: np.ndarray, outputs: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence of one file's answers from another's, logits `[n, classes]` each."""
    p, q = (y.astype(np.float64) - np.logaddexp.reduce(y.astype(np.float64), axis=1)[:, None] for y in (exact, outputs))
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def within_budget(trial: Trial, path: Path, sequence: Sequence[str], budget: float) -> tuple[int, dict[str, Any]]:
    """How many operators of a sequence can be quantised within a budget, and the accuracies tried.

    Args:
        trial: To try files.
        path: The fp32 file.
        sequence: Operators, the least sensitive first.
        budget: Percent of the fp32 file's accuracy.
    """
    images, labels = trial.pictures.judged, trial.pictures.judged_labels
    exact = accuracy(batched(path, images), labels)
    tried: dict[int, float] = {}
    with progress("bisection") as update:

        def passes(k: int) -> bool:
            tried[k] = accuracy(trial.outputs(sequence[:k], images), labels)
            update(len(tried), 2 * np.log2(max(2, len(sequence))), f"{k} operators: {tried[k]:.2f} %")
            return tried[k] >= budget / 100 * exact

        k = longest_prefix(passes, len(sequence)) if sequence else 0
    return k, {"fp32": exact, "by_operators": {str(n): tried[n] for n in sorted(tried)}}


def _why(name: str, sequence: Sequence[str], k: int) -> str:
    if name not in sequence:
        return "no faster on integers"
    place = sequence.index(name) + 1
    return f"number {place} in order, {'within' if place <= k else 'beyond'} the budget"
