"""Post-training static quantisation to INT8, in ONNX Runtime's two forms: QDQ and QOperator."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latency_tables.errors import WeightsError

if TYPE_CHECKING:
    import onnx

FORMATS = ("QDQ", "QOperator")
_RANGE = (np.float32(-1), np.float32(3))  # of activations, where only the time matters


def quantize(model: str | Path, images: np.ndarray, path: str | Path, *, form: str = "QDQ") -> Path:
    """Quantises a model: unsigned 8-bit activations, signed weights of 7 bits with a scale per channel.

    Unsigned activations with signed weights is the pair that the CPU's VNNI instructions
    multiply; the README has it measured against signed ones. The weights keep to 7 bits because
    x86 without VNNI adds two products in 16 bits, which saturate with 8: the outputs of a file that
    is right on one server would be wrong on the next.

    Args:
        model: An fp32 ONNX file that `onnx_model` made.
        images: Calibration images `[n, c, h, w]` float32, preprocessed as for inference; activation
            ranges are their extremes. 100 to 300 are enough.
        path: Where to write.
        form: "QDQ" or "QOperator".

    Returns:
        `path`.

    Raises:
        WeightsError: if the images do not have the shape that the model takes.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = Path(path)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(path),
            _reader(prepared, np.asarray(images, dtype=np.float32)),
            quant_format=QuantFormat[form],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
        )
    return path


def quantized_for_timing(model: "onnx.ModelProto", form: str) -> "onnx.ModelProto":
    """The graph that `quantize` would ship, with made-up activation ranges: no calibration, a second a network.

    Args:
        model: What `onnx_model` made, fp32.
        form: "QDQ" or "QOperator".
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    prepared = onnx.shape_inference.infer_shapes(_basic_optimised(model))
    tensors = {name for node in prepared.graph.node for name in node.output}
    tensors |= {value.name for value in prepared.graph.input}
    options = {
        "per_channel": True,
        "reduce_range": True,
        "weight_qType": QuantType.QInt8,
        "activation_qType": QuantType.QUInt8,
        "tensors_range": TensorsData(CalibrationMethod.MinMax, dict.fromkeys(tensors, _RANGE)),
        "nodes_to_quantize": [],
        "nodes_to_exclude": [],
        "op_types_to_quantize": sorted({*QLinearOpsRegistry, *QDQRegistry}),
        "extra_options": {},
    }
    with _quiet():
        if form == "QDQ":
            quantizer = QDQQuantizer(prepared, **options)
        else:
            quantizer = ONNXQuantizer(prepared, mode=QuantizationMode.QLinearOps, static=True, **options)
        quantizer.quantize_model()
    return quantizer.model.model


def _basic_optimised(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """What `quant_pre_process` hands to the quantiser: ONNX Runtime's basic optimisations, HardSwish in two nodes."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(Path(folder, "basic.onnx"))
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.log_severity_level = 3
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def _reader(model: Path, images: np.ndarray) -> object:
    """Feeds images to ONNX Runtime's calibration in the model's batches; a rest that fills none is left out."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    value = session.get_inputs()[0]
    shape = tuple(value.shape[1:])
    if images.shape[1:] != shape:
        raise WeightsError(f"Calibration images have shape {images.shape[1:]}, the model takes {shape}.")
    batch = value.shape[0] if isinstance(value.shape[0], int) else min(64, len(images))
    if len(images) < batch or not len(images):
        raise WeightsError(f"{len(images)} calibration images do not fill one batch of {batch}.")

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches: Iterator[np.ndarray] = iter(
                [images[i : i + batch] for i in range(0, len(images) - batch + 1, batch)]
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            images = next(self.batches, None)
            return None if images is None else {value.name: images}

    return Reader()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the quantiser's advice, which is addressed to its developers, off the user's terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
