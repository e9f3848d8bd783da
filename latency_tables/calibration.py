"""Ranges of a model's tensors on calibration images, by ONNX Runtime's calibrators."""

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latency_tables.errors import QuantisationError

if TYPE_CHECKING:
    import onnx

    from latency_tables.int8 import Quantisation

METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}  # ours -> ONNX Runtime's
_BINS = {"entropy": 512, "percentile": 2048}  # the entropy method's time grows with the square
_IMAGES = 64  # at once while calibrating


def ranges_of(prepared: "onnx.ModelProto", images: np.ndarray, how: "Quantisation", folder: Path) -> Any:
    """Ranges of all tensors of a prepared model; files that the calibrator needs go into a folder."""
    import onnx
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    readers = _readers(prepared, images)
    onnx.save(prepared, folder / "calibrated.onnx")
    options: dict[str, Any] = {}
    if how.method in _BINS:
        # its percentile is of absolute values unless told otherwise: half the range of a ReLU would be unused
        options = {"num_bins": _BINS[how.method], "symmetric": False}
    if how.method == "percentile":
        options["percentile"] = how.percentile
    with quiet():
        calibrator = create_calibrator(
            folder / "calibrated.onnx",
            sorted({*QLinearOpsRegistry, *QDQRegistry}),
            augmented_model_path=str(folder / "augmented.onnx"),
            calibrate_method=CalibrationMethod[METHODS[how.method]],
            extra_options=options,
        )
        for reader in readers:
            calibrator.collect_data(reader)  # all outputs of a call are kept in memory: one batch a call
        return calibrator.compute_data()


def _readers(model: "onnx.ModelProto", images: np.ndarray) -> list[Any]:
    """Readers of one batch each."""
    from onnxruntime.quantization import CalibrationDataReader

    value = model.graph.input[0]
    shape = tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim[1:])
    if images.shape[1:] != shape or not len(images):
        raise QuantisationError(f"Calibration images have shape {images.shape}, the model takes (n, {shape}).")

    class Reader(CalibrationDataReader):
        def __init__(self, start: int) -> None:
            self.batches = iter([{value.name: images[start : start + _IMAGES]}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    return [Reader(start) for start in range(0, len(images), _IMAGES)]


def any_batch(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The model for any number of images at once: one by one takes many times as long."""
    import onnx

    free = onnx.ModelProto.FromString(model.SerializeToString())
    for value in (*free.graph.input, *free.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    del free.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(free)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps the quantiser's advice, which is addressed to its developers, off the user's terminal and stdout."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
