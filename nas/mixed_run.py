"""Mixed precision of one exported file: the fastest set of operators on integers that an accuracy budget allows."""

import tempfile
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
from nas.precision.allowed import Budget, allowed
from nas.precision.estimates import sensitivities
from nas.precision.sensitivity import ORDERS
from nas.precision.timing import operator_times
from nas.precision.trial import Trial
from nas.quantize_run import card_beside, exported_network, file_state, finite, pictures_for, write_card

if TYPE_CHECKING:
    from latency_tables import Quantisation

FORMAT = 3  # 2: sets of least time, times without the profiler's own; 3: dependencies beside a set
JUDGED = 10_000  # validation images at most: a tenth of a percent is ten of them
_SHOWN = 64  # images that the profile's noise is computed on
_SECONDS = 60.0  # to measure the files


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
    """Puts operators of an exported file on integers within an accuracy budget; the report goes beside it.

    Two sets are made: as many operators as the budget allows, the least sensitive first, and the set of least
    time, in which an operator that gains nothing between its neighbours stays in float; with dependencies up to two
    more. The fastest file stays.

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
    pictures = pictures_for(path, data, network, card, images, seed, judged=JUDGED)
    with tempfile.TemporaryDirectory() as folder, calibrated(path, pictures.calibration, how) as write:
        whole = write(Path(folder, "int8.onnx"))
        with executor_for(device) as executor:
            rows = operator_reports(path, whole, pictures.calibration[:_SHOWN], device, executor=executor)
        trial = Trial(network, write, pictures, Path(folder))
        found = sensitivities(path, whole, trial, wish.order, seed)
        times = operator_times(path, whole, rows, trial, device, seed)
        budget = Budget(network, times, trial, trial.accuracy(()), wish.budget)
        found, sets = allowed(budget, found, wish.order, seed)
        made = [write(Path(folder, f"{i}.onnx"), each.operators) for i, each in enumerate(sets.values())]
        with progress(f"measure on {device.name}") as update:
            effort = Effort(seconds=_SECONDS)
            measured = measure_networks([path, whole, *made], device, update, effort=effort, seed=seed)
        candidates = dict(zip(sets, measured[2:], strict=True))
        best = min(candidates, key=lambda name: candidates[name].median_ms)
        chosen, tried, values = sets[best]
        write(out, chosen)
        paths, latencies = [path, whole, out], [*measured[:2], candidates[best]]
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
        "chosen": best,
        "candidates_ms": {name: latency.median_ms for name, latency in candidates.items()},
        "validation_accuracy": tried,
        "conversions": {key: finite(value) for key, value in asdict(times.conversions).items()},
        "same_class": accuracy(outputs[2], outputs[0].argmax(axis=1)),
        "conditions": device_fingerprint(device),
        "operators": [
            {
                "name": row.name,
                "key": row.key,
                "precision": "int8" if row.name in chosen else "fp32",
                "sensitivity": values[row.name],
                "hessian": finite(found[row.name].hessian),
                "beside": found[row.name].beside,
                "fp32_ms": times.in_float[row.name],
                "int8_ms": times.on_integers[row.name],
            }
            for row in rows
        ],
    }
    write_json(out.with_suffix(".report.json"), document)
    if card is not None:
        write_card(card, document, latencies[2].runs, float(np.abs(outputs[2] - outputs[0]).max()), "mixed")
    return document
