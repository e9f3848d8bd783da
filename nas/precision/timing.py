"""What the operators of one file take in float and on integers, and the conversions between."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.console import progress
from nas.front import measure_networks
from nas.precision.conversions import learned, switching_sets
from nas.precision.least_time import Times
from nas.precision.trial import Trial

if TYPE_CHECKING:
    from latency_tables import Device
    from latency_tables.int8_report import OperatorReport

_SETS, _SECONDS = 12, 40.0


def operator_times(
    path: Path, whole: Path, rows: "Sequence[OperatorReport]", trial: Trial, device: "Device", seed: int
) -> Times:
    """Measures a dozen files of mixed precision whole and learns from them what conversions cost.

    The profiler's own cost is taken out: an operator's times are its shares of the latencies of the two files.

    Args:
        path: The fp32 file.
        whole: The file with all operators on integers.
        rows: Both files' operators, profiled.
        trial: To write others.
        device: Where to measure.
        seed: Of the draws.
    """
    from latency_tables import Effort

    rng = np.random.default_rng(seed)
    sets = switching_sets([row.name for row in rows], rng, _SETS) if len(rows) > 1 else []
    mixed = [trial.write(trial.folder / f"switching{i}.onnx", chosen) for i, chosen in enumerate(sets)]
    with progress("conversions") as update:
        effort = Effort(seconds=_SECONDS)
        measured = [m.median_ms for m in measure_networks([path, whole, *mixed], device, update, effort=effort)]
    sums = sum(row.fp32_ms for row in rows), sum(row.int8_ms for row in rows)
    in_float = {row.name: row.fp32_ms * measured[0] / sums[0] for row in rows}
    on_integers = {row.name: row.int8_ms * measured[1] / sums[1] for row in rows}
    return Times(in_float, on_integers, learned(trial.network, in_float, on_integers, sets, measured[2:]))
