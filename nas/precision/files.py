"""Subnets of a run as files of mixed precision: written, evaluated, and emitted for timing."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.onnx_eval import accuracy, logits
from nas.subnets import Evaluator
from search_spaces.mixed import MixedSpace

if TYPE_CHECKING:
    import onnx

CALIBRATION_IMAGES = 100
_BATCH = 100


@dataclass(frozen=True)
class MixedEvaluator:
    """Accuracy of subnets from their really quantised files; what a worker gets, once.

    Attributes:
        space: Of the genotypes.
        subnets: Evaluates their architectures.
    """

    space: MixedSpace
    subnets: Evaluator

    def write(self, x: np.ndarray, path: Path, *, batch: int = 1, images: int = CALIBRATION_IMAGES) -> Path:
        """Writes the file of a genotype `[genes]`, calibrated on training images."""
        import onnx

        from latency_tables import onnx_model
        from latency_tables.int8 import calibrated
        from supernets.images import nchw

        architecture = self.space.architectures(x)[0]
        network, precision = self.space.base.network(architecture), self.space.precision(x)
        model = onnx_model(network, self.subnets.weights(architecture), batch=batch)
        onnx.save(model, path)
        if precision:
            with calibrated(path, nchw(self.subnets.calibration[network.size][:images])) as write:
                write(path, list(precision), [name for name, mode in precision.items() if mode == "asymmetric"])
        return path

    def __call__(self, x: np.ndarray) -> float:
        """Accuracy in percent on the validation images."""
        labels = self.subnets.labels
        with tempfile.TemporaryDirectory() as folder:
            path = self.write(x, Path(folder, "subnet.onnx"), batch=min(_BATCH, len(labels)))
            return accuracy(logits(path, self.subnets.images[self.space.network(x).size]), labels)


def timed_file(space: MixedSpace, x: np.ndarray, batch: int) -> "onnx.ModelProto":
    """The model of a genotype with random weights and made-up ranges, for its time alone."""
    from latency_tables import onnx_model
    from latency_tables.int8 import quantized_for_timing

    model = onnx_model(space.network(x), batch=batch)
    return quantized_for_timing(model, "QDQ", list(space.precision(x)))
