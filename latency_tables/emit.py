"""The only place that writes ONNX: a `Network`, or some of its operators, as a static NCHW graph.

Batch norm is folded into weight and bias. Profiling, whole-network timing and export all use
this emitter, so what is timed is what is shipped. Needs the `onnx` package only.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np

from latency_tables.errors import WeightsError
from latency_tables.weights import RandomWeights, Weights
from search_spaces import Conv, GlobalPool, Linear, Network, Operator, Pool, Scale, Shuffle, Sum, Zero
from search_spaces.rounding import places

if TYPE_CHECKING:
    import onnx

OPSET = 21
IR_VERSION = 10
PRODUCER = "latency_tables"


def onnx_model(
    network: Network, weights: Mapping[str, np.ndarray] | None = None, *, batch: int | str = 1, half: bool = False
) -> "onnx.ModelProto":
    """A network as an ONNX model with one input "image" `[batch, c, h, w]` and one output.

    Args:
        network: The network.
        weights: Arrays by name: "{op.name}.weight" (convolution `[out, in / groups, k, k]`, linear `[out, in]`),
            "{op.name}.bias" where the operator has one, and "{op.name}.gamma", ".beta", ".mean",
            ".var" where it has batch norm; and the steps of a quantised supernet, which become
            nodes that round (`latency_tables.qdq`). Without any: fixed random numbers of a sane
            scale, for timing.
        batch: Images per call: a number, or a name such as "N" for any number (evaluation).
        half: Weights, input and output in fp16 instead of fp32.

    Raises:
        WeightsError: if an array is missing or has the wrong shape.
    """
    live = network.live
    return operators_model(live, range(len(live.operators)), weights, batch=batch, half=half)


def operators_model(
    network: Network,
    indices: Sequence[int],
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    batch: int | str = 1,
    half: bool = False,
) -> "onnx.ModelProto":
    """Some operators of a network as a model of their own.

    Values that they read and do not make are the inputs; those that nobody among them reads are
    the outputs.

    Args:
        network: The network.
        indices: Positions of the operators in `network.operators`, ascending.
        weights: As for `onnx_model`.
        batch: As for `onnx_model`.
        half: As for `onnx_model`.
    """
    import onnx

    source = RandomWeights() if weights is None else Weights(weights)
    graph = _Graph(network, source, batch, half)
    made = {i + 1 for i in indices}
    read = [value for i in indices for value in network.operators[i].inputs]
    inputs = [graph.declare(value) for value in dict.fromkeys(read) if value not in made]
    if half and graph.rounding.active:
        raise WeightsError("A quantised network has no fp16 form; use precision fp32 or int8.")
    for i in indices:
        graph.append(i)
    outputs = [
        onnx.helper.make_tensor_value_info(graph.values[v], graph.number, graph.shape(v))
        for v in sorted(made.difference(read))
    ]
    proto = onnx.helper.make_graph(graph.nodes, network.name, inputs, outputs, graph.constants)
    model = onnx.helper.make_model(
        proto,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
    )
    onnx.helper.set_model_props(model, {"network": network.text})
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes and constants under construction; every value is named after the operator that makes it."""

    def __init__(self, network: Network, weights: Weights, batch: int | str, half: bool) -> None:
        import onnx

        self.number = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
        self.network, self.weights, self.batch = network, weights, batch
        self.rounding = weights.rounding
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.values: dict[int, str] = {}  # index of a value -> name of its tensor
        self.flat: set[str] = set()  # tensors of shape [batch, channels] instead of [batch, channels, 1, 1]

    def shape(self, value: int) -> list[int | str]:
        """Shape of a value's tensor, batch first."""
        channels, height, width = self.network.shapes[value]
        return [self.batch, channels] if self.values.get(value) in self.flat else [self.batch, channels, height, width]

    def declare(self, value: int) -> "onnx.ValueInfoProto":
        """Makes a value an input of the graph."""
        import onnx

        self.values[value] = self.network.operators[value - 1].name if value else "image"
        return onnx.helper.make_tensor_value_info(self.values[value], self.number, self.shape(value))

    def append(self, i: int) -> None:
        """Appends operator number `i`, and what rounds the image before it and its output."""
        op = self.network.operators[i]
        if 0 in op.inputs:
            self.values[0] = self.rounding.at(self, op, "image", self.values[0])
        made = _emit(op, self)
        rounded = self.rounding.at(self, op, "out", made) if places(op) else self._moved(op, made)
        if made in self.flat:
            self.flat.add(rounded)
        self.values[i + 1] = rounded

    def _moved(self, op: Operator, made: str) -> str:
        """The output of an operator that selects or moves values, as rounded as its input."""
        return self.rounding.like(self, made, self.values[op.inputs[0]])

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Appends a node called like its output; returns that name."""
        import onnx

        self.nodes.append(onnx.helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, array: np.ndarray) -> str:
        """Adds a constant; returns its name."""
        import onnx

        if array.dtype == np.float32 and self.number == onnx.TensorProto.FLOAT16:
            array = array.astype(np.float16)
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def flat_input(self, op: Operator) -> str:
        """First input of an operator as `[batch, channels]`."""
        tensor = self.values[op.inputs[0]]
        if tensor not in self.flat:
            tensor = self.rounding.like(self, self.node("Flatten", [tensor], f"{op.name}/flat", axis=1), tensor)
            self.flat.add(tensor)
        return tensor

    def map_input(self, op: Operator, position: int = 0) -> str:
        """An input of an operator as `[batch, channels, height, width]`."""
        tensor = self.values[op.inputs[position]]
        if tensor in self.flat:
            axes = self.constant(f"{op.name}/axes{position}", np.array([2, 3], dtype=np.int64))
            tensor = self.node("Unsqueeze", [tensor, axes], f"{op.name}/map{position}")
        return tensor


# From an activation to a function that appends it: (graph, input, output) -> output.
_ACTIVATE: dict[str, Callable[[_Graph, str, str], str]] = {
    "relu": lambda g, x, y: g.node("Relu", [x], y),
    "relu6": lambda g, x, y: g.node(
        "Clip", [x, g.constant(f"{y}/min", np.array(0, np.float32)), g.constant(f"{y}/max", np.array(6, np.float32))], y
    ),
    "hswish": lambda g, x, y: g.node("HardSwish", [x], y),
    "hsigmoid": lambda g, x, y: g.node("HardSigmoid", [x], y, alpha=1 / 6, beta=0.5),
    "sigmoid": lambda g, x, y: g.node("Sigmoid", [x], y),
}


def _activated(graph: _Graph, op: Conv | Linear | Sum, before: Callable[[str], str]) -> str:
    """Runs `before(name)`, then the operator's activation; the last node is called like the operator."""
    if op.activation == "none" or graph.rounding.implies(op, op.activation):
        return before(op.name)
    linear = graph.rounding.at(graph, op, "linear", before(f"{op.name}/linear"))
    return _ACTIVATE[op.activation](graph, linear, op.name)


@singledispatch
def _emit(op: Operator, graph: _Graph) -> str:
    """Appends the nodes of an operator; returns the name of its output tensor."""
    raise TypeError(f"Operator {op.name!r} of kind {op.kind!r} has no ONNX form.")


@_emit.register
def _(op: Conv, graph: _Graph) -> str:
    weight, bias = graph.weights.conv(op)
    x = graph.map_input(op)
    inputs = [x, *graph.rounding.kernel(graph, op, x, weight, bias)]
    residual = graph.map_input(op, 1) if len(op.inputs) == 2 else None

    def convolve(name: str) -> str:
        y = graph.node(
            "Conv",
            inputs,
            name if residual is None else f"{op.name}/conv",
            kernel_shape=[op.kernel, op.kernel],
            strides=[op.stride, op.stride],
            pads=[op.kernel // 2] * 4,
            group=op.groups,
        )
        return y if residual is None else graph.node("Add", [graph.rounding.at(graph, op, "conv", y), residual], name)

    return _activated(graph, op, convolve)


@_emit.register
def _(op: Linear, graph: _Graph) -> str:
    weight, bias = graph.weights.linear(op)
    x = graph.flat_input(op)
    inputs = [x, *graph.rounding.kernel(graph, op, x, weight, bias)]
    y = _activated(graph, op, lambda name: graph.node("Gemm", inputs, name, transB=1))
    graph.flat.add(y)
    return y


@_emit.register
def _(op: Pool, graph: _Graph) -> str:
    kind = {"max": "MaxPool", "mean": "AveragePool"}[op.reduce]
    return graph.node(
        kind,
        [graph.map_input(op)],
        op.name,
        kernel_shape=[op.kernel, op.kernel],
        strides=[op.stride, op.stride],
        pads=[op.padding] * 2 + [op.far_padding] * 2,
    )


@_emit.register
def _(op: GlobalPool, graph: _Graph) -> str:
    return graph.node("GlobalAveragePool", [graph.map_input(op)], op.name)


@_emit.register
def _(op: Scale, graph: _Graph) -> str:
    return graph.node("Mul", [graph.map_input(op, 0), graph.map_input(op, 1)], op.name)


@_emit.register
def _(op: Sum, graph: _Graph) -> str:
    maps = [graph.map_input(op, i) for i in range(len(op.inputs))]

    def add(name: str) -> str:
        y = maps[0]
        for i, x in enumerate(maps[1:], 2):
            last = i == len(maps) and not op.norm
            y = graph.node("Add", [y, x], name if last else f"{op.name}/sum{i}")
        if op.norm:
            scale, shift = graph.weights.norm(op)
            y = graph.node("Mul", [y, graph.constant(f"{op.name}.scale", scale[:, None, None])], f"{op.name}/scaled")
            y = graph.node("Add", [y, graph.constant(f"{op.name}.shift", shift[:, None, None])], name)
        return y

    if len(maps) == 1 and not op.norm and op.activation == "none":
        return graph.node("Identity", maps, op.name)
    return _activated(graph, op, add)


@_emit.register
def _(op: Zero, graph: _Graph) -> str:
    zero = graph.constant(f"{op.name}/zero", np.array(0, np.float32))
    return graph.node("Mul", [graph.map_input(op), zero], op.name)


@_emit.register
def _(op: Shuffle, graph: _Graph) -> str:
    # [batch, groups * c, h * w] -> [batch, groups, c, h * w] -> transposed -> back; 0 keeps the batch
    c, h, w = op.out_shape
    split = graph.constant(f"{op.name}/split", np.array([0, op.groups, c // op.groups, h * w], dtype=np.int64))
    join = graph.constant(f"{op.name}/join", np.array([0, c, h, w], dtype=np.int64))
    y = graph.node("Reshape", [graph.map_input(op), split], f"{op.name}/groups")
    y = graph.node("Transpose", [y], f"{op.name}/transpose", perm=[0, 2, 1, 3])
    return graph.node("Reshape", [y, join], op.name)
