"""Files with some operators on integers, tried on images, and how far an accuracy budget goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.console import progress
from nas.onnx_eval import accuracy, logits
from nas.precision.bisection import longest_prefix
from nas.quantize_run import Pictures

if TYPE_CHECKING:
    from latency_tables.int8 import Write
    from search_spaces import Network


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

    def accuracy(self, operators: Sequence[str]) -> float:
        """Percent of the judged images that are classified right; without operators the fp32 file's."""
        return accuracy(self.outputs(operators, self.pictures.judged), self.pictures.judged_labels)


def batched(path: Path, images: np.ndarray) -> np.ndarray:
    """Logits of a file, many images at once."""
    import onnx

    from latency_tables.calibration import any_batch

    return logits(any_batch(onnx.load(path)).SerializeToString(), images)


def within_budget(
    trial: Trial, sets: Sequence[Sequence[str]], exact: float, budget: float
) -> tuple[Sequence[str], dict[str, Any]]:
    """The last set of a sequence that an accuracy budget allows, by bisection, and the accuracies tried.

    Args:
        trial: To try files.
        sets: Operators on integers, from the least sensitive set to the most; the first is taken to pass.
        exact: Accuracy of the fp32 file on the judged images, percent.
        budget: Percent of it.
    """
    tried: dict[int, float] = {}
    tries = int(np.ceil(np.log2(max(2, len(sets))))) + max(2, len(sets) // 6)  # about
    with progress("bisection") as update:

        def passes(k: int) -> bool:
            tried[k] = trial.accuracy(sets[k])
            update(len(tried), tries, f"{len(sets[k])} operators: {tried[k]:.2f} %")
            return tried[k] >= budget / 100 * exact

        k = longest_prefix(passes, len(sets) - 1)
    return sets[k], {"fp32": exact, "by_operators": {str(len(sets[n])): tried[n] for n in sorted(tried)}}
