"""Post-training static quantisation to INT8, in ONNX Runtime's two forms: QDQ and QOperator.

ONNX Runtime's own calibrators and quantisers do the work. They are called one by one rather than
through `quantize_static`, which passes neither the number of bins on (with its 128, the entropy method
has a single candidate: the extremes) nor ranges from one quantisation to the next.
"""

import contextlib
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latency_tables.calibration import METHODS, any_batch, quiet, ranges_of
from latency_tables.errors import QuantisationError
from latency_tables.trace import node_owners
from search_spaces import ArchitectureError, Network

if TYPE_CHECKING:
    import onnx

FORMATS = ("QDQ", "QOperator")
_RANGE = (np.float32(-1), np.float32(3))  # of activations, where only the time matters


@dataclass(frozen=True)
class Quantisation:
    """How a model is quantised: unsigned 8-bit activations, signed weights.

    Unsigned activations with signed weights is the pair that the CPU's VNNI instructions
    multiply; the README has it measured against signed ones. The weights keep to 7 bits because
    x86 without VNNI adds two products in 16 bits, which saturate with 8: the outputs of a file that
    is right on one server would be wrong on the next.

    Attributes:
        form: "QDQ" or "QOperator".
        method: Ranges of activations: their extremes on the calibration images ("minmax"), the clipped
            range whose distribution is nearest by Kullback-Leibler divergence ("entropy"), or one that
            leaves out a share of the values at both ends ("percentile").
        percentile: Of the values that the last keeps, percent.
        per_channel: A scale for every output channel of a weight, or one for all of it.
        weight_bits: 7, or 8 where all devices have VNNI or the like.
    """

    form: str = "QDQ"
    method: str = "minmax"
    percentile: float = 99.99
    per_channel: bool = True
    weight_bits: int = 7

    def __post_init__(self) -> None:
        for name, value, known in (
            ("form", self.form, FORMATS),
            ("method", self.method, tuple(METHODS)),
            ("weight_bits", self.weight_bits, (7, 8)),
        ):
            if value not in known:
                raise QuantisationError(f"{name} (={value!r}) must be one of: {', '.join(map(str, known))}.")
        if not 50 < self.percentile <= 100:
            raise QuantisationError(f"percentile (={self.percentile:g}) must be above 50 and at most 100.")


def quantize(model: str | Path, images: np.ndarray, path: str | Path, how: Quantisation = Quantisation()) -> Path:
    """Quantises a model.

    Args:
        model: An fp32 ONNX file that `onnx_model` made.
        images: Calibration images `[n, c, h, w]` float32, preprocessed as for inference. 100 to 300 are enough.
        path: Where to write.
        how: Form, method and granularity.

    Returns:
        `path`.

    Raises:
        QuantisationError: if the images do not have the shape that the model takes.
    """
    with calibrated(model, images, how) as write:
        return write(path)


Write = Callable[..., Path]  # (path, operators=None, asymmetric=()) -> path


@contextlib.contextmanager
def calibrated(model: str | Path, images: np.ndarray, how: Quantisation = Quantisation()) -> Iterator[Write]:
    """Calibrates a model once, to quantise it, or a few of its operators, as often as wanted.

    Args:
        model: As for `quantize`.
        images: As for `quantize`.
        how: As for `quantize`.

    Yields:
        `write(path, operators=None, asymmetric=())`: quantises the named operators of the network, by default
        all, writes the file and returns its path. The weights of those that are asymmetric get one scale and
        one offset for all channels: ONNX Runtime's integer convolution takes no offset a channel.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        with quiet():
            quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        ranges = ranges_of(any_batch(onnx.load(prepared)), np.asarray(images, dtype=np.float32), how, Path(folder))

        def write(path: str | Path, operators: Sequence[str] | None = None, asymmetric: Sequence[str] = ()) -> Path:
            source = onnx.load(prepared)
            nodes = None if operators is None else _nodes(source, operators)
            if nodes == []:  # ONNX Runtime takes none for all
                onnx.save(onnx.load(model), path)
                return Path(path)
            made = _quantised(source, ranges, how, nodes, asymmetric)
            onnx.save(made, path)
            return Path(path)

        yield write


def quantized_for_timing(
    model: "onnx.ModelProto", form: str, operators: Sequence[str] | None = None
) -> "onnx.ModelProto":
    """The graph that `quantize` would ship, with made-up activation ranges: no calibration, a second a network.

    Args:
        model: What `onnx_model` made, fp32.
        form: "QDQ" or "QOperator".
        operators: Those to quantise, by default all.
    """
    import onnx
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

    prepared = onnx.shape_inference.infer_shapes(_basic_optimised(model))
    tensors = {name for node in prepared.graph.node for name in node.output}
    tensors |= {value.name for value in prepared.graph.input}
    ranges = TensorsData(CalibrationMethod.MinMax, dict.fromkeys(tensors, _RANGE))
    nodes = None if operators is None else _nodes(prepared, operators)
    return model if nodes == [] else _quantised(prepared, ranges, Quantisation(form=form), nodes)


def recorded_network(model: "onnx.ModelProto") -> Network:
    """The network that a file of ours says it holds.

    Raises:
        QuantisationError: if it does not say so.
    """
    text = next((entry.value for entry in model.metadata_props if entry.key == "network"), "")
    try:
        return Network.parse(text).live
    except ArchitectureError as error:
        raise QuantisationError(f"The ONNX file does not say which network it holds ({error})") from error


def _quantised(
    prepared: "onnx.ModelProto",
    ranges: Any,
    how: Quantisation,
    nodes: list[str] | None,
    asymmetric: Sequence[str] = (),
) -> "onnx.ModelProto":
    """A prepared model quantised by given ranges of its tensors; `nodes` are the names of those to quantise."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    offset = [{"quant_type": QuantType.QInt8, "symmetric": False, "reduce_range": how.weight_bits == 7}]
    options = {
        "per_channel": how.per_channel,
        "reduce_range": how.weight_bits == 7,
        "weight_qType": QuantType.QInt8,
        "activation_qType": QuantType.QUInt8,
        "tensors_range": ranges,
        "nodes_to_quantize": nodes or [],
        "nodes_to_exclude": [],
        "op_types_to_quantize": sorted({*QLinearOpsRegistry, *QDQRegistry}),
        "extra_options": {"TensorQuantOverrides": {f"{name}.weight": offset for name in asymmetric}},
    }
    with quiet():
        if how.form == "QDQ":
            quantizer = QDQQuantizer(prepared, **options)
        else:
            quantizer = ONNXQuantizer(prepared, mode=QuantizationMode.QLinearOps, static=True, **options)
        quantizer.quantize_model()
    return quantizer.model.model


def check_operators(network: Network, operators: Collection[str]) -> None:
    """Refuses names that no operator of a network has.

    Raises:
        QuantisationError: if there is one.
    """
    if unknown := sorted(set(operators) - {op.name for op in network}):
        raise QuantisationError(f"Network {network.name!r} has no operator {unknown[0]!r}.")


def _nodes(prepared: "onnx.ModelProto", operators: Sequence[str]) -> list[str]:
    """Names of the nodes that compute some operators; nodes without a name get one."""
    network = recorded_network(prepared)
    check_operators(network, operators)
    for i, node in enumerate(prepared.graph.node):
        node.name = node.name or f"node{i}"
    owners = node_owners(prepared.SerializeToString(), network)
    return [node for node, operator in owners.items() if operator in set(operators)]


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
