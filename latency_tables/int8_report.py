"""What quantisation did to every operator of a network: error, time, and what still runs in float."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latency_tables.devices import Device
from latency_tables.int8 import recorded_network
from latency_tables.plan import Executor, Plan, local_executor
from latency_tables.trace import node_owners, operator_times
from search_spaces import Network

if TYPE_CHECKING:
    import onnx

_BATCH = 32
_ROUNDS, _CALLS = 6, 10
# Nodes that compute nothing: conversions and layout.
_MOVING = {
    *("QuantizeLinear", "DequantizeLinear", "Reshape", "Flatten", "Unsqueeze", "Squeeze", "Transpose"),
    *("Identity", "ReorderInput", "ReorderOutput"),
}


@dataclass(frozen=True)
class OperatorReport:
    """One operator before and after.

    Attributes:
        name: Of the operator in its network.
        key: Its kernel in a latency table.
        sqnr_db: Signal to quantisation noise of its output in the quantised network, all that came before
            included; infinite where nothing changed.
        fp32_ms: Its time in the fp32 file, conversions and layout changes that it causes included.
        int8_ms: Likewise in the quantised file.
        float_kernels: What of it still runs in float there; empty where all of it is integer arithmetic.
    """

    name: str
    key: str
    sqnr_db: float
    fp32_ms: float
    int8_ms: float
    float_kernels: tuple[str, ...]


def operator_reports(
    model: Path, quantised: Path, images: np.ndarray, device: Device, *, executor: Executor | None = None
) -> list[OperatorReport]:
    """Compares a file with its quantised form (QDQ), operator by operator.

    Times are ONNX Runtime's profiler's: medians over calls of the two files in turns. The profiler itself
    costs microseconds a node, so they add up to more than the latency of the file.

    Args:
        model: The fp32 file.
        quantised: What `quantize` made of it.
        images: Calibration images `[n, c, h, w]`.
        device: Where to time.
        executor: Of a device elsewhere.
    """
    import onnx

    network = recorded_network(onnx.load(model))
    noise = sqnr_by_operator(onnx.load(model), onnx.load(quantised), network, images)
    task = {"name": "operators", "kind": "trace", "models": [0, 1], "anchors": [], "rounds": _ROUNDS, "calls": _CALLS}
    run = (executor or local_executor(device)).run(Plan(device, [model, quantised], [task]), (), lambda *_: None)
    ((_, record),) = run
    before, after = (operator_times(network, profile) for profile in record["profiles"])
    floats = float_kernels(base64.b64decode(record["profiles"][1]["graph"]), network)
    return [
        OperatorReport(
            op.name,
            op.key,
            noise[op.name],
            float(np.median(before[op.name])),
            float(np.median(after[op.name])),
            floats.get(op.name, ()),
        )
        for op in network
    ]


def float_kernels(optimised: bytes, network: Network) -> dict[str, tuple[str, ...]]:
    """From an operator to what of it computes in float in an optimised model; operators without such are absent.

    Args:
        optimised: The graph that ONNX Runtime runs, see `device_side.trace`.
        network: Whose operators its nodes are named after.
    """
    import onnx

    model = onnx.ModelProto.FromString(optimised)
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.value_info, *model.graph.output)}
    owners = node_owners(optimised, network)
    found: dict[str, list[str]] = {}
    owner = network.operators[0].name
    for node in model.graph.node:
        owner = owners.get(node.name, owner)
        integer = node.op_type.startswith("Q") or node.op_type in _MOVING
        if not integer and kinds.get(node.output[0], onnx.TensorProto.FLOAT) == onnx.TensorProto.FLOAT:
            found.setdefault(owner, []).append(node.op_type)
    return {name: tuple(nodes) for name, nodes in found.items()}


def sqnr_by_operator(
    model: "onnx.ModelProto", quantised: "onnx.ModelProto", network: Network, images: np.ndarray
) -> dict[str, float]:
    """Signal to quantisation noise of every operator's output, dB: 10 log10(sum x^2 / sum (x - y)^2).

    Args:
        model: The fp32 model.
        quantised: The same in QDQ form.
        network: What they hold.
        images: `[n, c, h, w]`.
    """
    before = {op.name: _tensor(model, op.name) for op in network}
    after = {op.name: _tensor(quantised, op.name) for op in network}
    signal, noise = dict.fromkeys(before, 0.0), dict.fromkeys(before, 0.0)
    pairs = zip(_values(model, before, images), _values(quantised, after, images), strict=True)
    for exact, rounded in pairs:
        for name, x in exact.items():
            signal[name] += float((x.astype(np.float64) ** 2).sum())
            noise[name] += float(((x - rounded[name]).astype(np.float64) ** 2).sum())
    return {name: sqnr_db(signal[name], noise[name]) for name in before}


def sqnr_db(signal: float, noise: float) -> float:
    """Ratio of two powers, dB; infinite without noise."""
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 else float("-inf")


def _tensor(model: "onnx.ModelProto", operator: str) -> str:
    """The tensor that holds an operator's output, rounded where the model rounds it.

    The quantiser leaves out an activation that the rounding implies, as a ReLU's at zero: its input is then
    rounded in its place.
    """
    made = {output for node in model.graph.node for output in node.output}
    for tensor in (operator, f"{operator}/linear"):
        for name in (f"{tensor}_DequantizeLinear_Output", tensor):
            if name in made:
                return name
    raise ValueError(f"the model has no tensor of operator {operator!r}")


def _values(model: "onnx.ModelProto", tensors: Mapping[str, str], images: np.ndarray) -> Iterator[dict[str, Any]]:
    """Values of tensors by operator, batch after batch, as the graph says them: nothing fused."""
    import onnx
    import onnxruntime

    opened = onnx.ModelProto.FromString(model.SerializeToString())
    present = {value.name for value in opened.graph.output}
    opened.graph.output.extend(onnx.ValueInfoProto(name=t) for t in dict.fromkeys(tensors.values()) if t not in present)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    names: Sequence[str] = list(dict.fromkeys(tensors.values()))
    batch = entry.shape[0] if isinstance(entry.shape[0], int) else min(_BATCH, len(images))
    for start in range(0, len(images) - batch + 1, batch):
        found = dict(zip(names, session.run(names, {entry.name: images[start : start + batch]}), strict=True))
        yield {operator: found[tensor] for operator, tensor in tensors.items()}
