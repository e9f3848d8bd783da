"""Operators of a quantised file back in float: those that integers make slower, as a stem of few channels on AVX2."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from latency_tables.errors import QuantisationError
from latency_tables.int8 import check_operators, recorded_network
from latency_tables.trace import node_owners

if TYPE_CHECKING:
    import onnx

    from search_spaces import Network, Operator

_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")
_HIGHEST = {"relu": None, "relu6": 6.0}  # of activations that rounding from 0 on stands for, so that they have no node


def in_float(model: "onnx.ModelProto", operators: Collection[str]) -> "onnx.ModelProto":
    """A QDQ file of ours with some operators in float: they keep the rounded weights, their values are not rounded.

    Args:
        model: In QDQ form; it stays as it is.
        operators: Names in the file's network.

    Raises:
        QuantisationError: if the network has no such operator, or nothing in the file is in QDQ form.
    """
    import onnx

    network = recorded_network(model)
    check_operators(network, operators)
    if not any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise QuantisationError("The file is not in QDQ form; quantise it in that form, or leave it as it is.")
    made = onnx.ModelProto()
    made.CopyFrom(model)
    _Graph(made, network, operators).convert()
    return made


class _Graph:
    """A model's graph while operators are taken out of integers."""

    def __init__(self, model: "onnx.ModelProto", network: "Network", operators: Collection[str]) -> None:
        import onnx

        self._graph = model.graph
        unnamed = [node for node in model.graph.node if not node.name]
        for i, node in enumerate(unnamed):
            node.name = f"node{i}"
        owners = node_owners(model.SerializeToString(), network)
        self._owners = {name: owners[node.name] for node in model.graph.node for name in node.output}
        for node in unnamed:  # a name of its own would hide from reports whose it is
            node.name = ""
        self._operators = {op.name: op for op in network}
        self._floats = set(operators)
        self._constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._images = {value.name for value in model.graph.input}

    def convert(self) -> None:
        """Changes the graph."""
        for node in [*self._graph.node]:  # nodes for activations come behind them
            if node.op_type not in _CONVERSIONS and self._owners[node.output[0]] in self._floats:
                node.input[:] = [self._unrounded(name) for name in node.input]
        needed: set[str] = set()
        left = [value.name for value in self._graph.output]
        while left:
            if (name := left.pop()) not in needed:
                needed.add(name)
                left += self._makers[name].input if name in self._makers else ()
        for part, names in ((self._graph.node, lambda n: n.output), (self._graph.initializer, lambda c: [c.name])):
            kept = [each for each in part if needed & {*names(each)}]
            del part[:]
            part.extend(kept)

    def _unrounded(self, name: str) -> str:
        """What an operator in float reads in place of an input: as it was before rounding, if that was in float."""
        dequantised = self._makers.get(name)
        if dequantised is None or dequantised.op_type != "DequantizeLinear":
            return name
        if dequantised.input[0] in self._constants:
            return self._constant(name, dequantised)
        tensor = self._makers[dequantised.input[0]].input[0]
        if tensor in self._images:
            return tensor
        maker = self._makers[tensor]
        owner = self._operators[self._owners[tensor]]
        return self._activated(tensor, maker, owner) if owner.name in self._floats else name

    def _constant(self, name: str, dequantised: "onnx.NodeProto") -> str:
        """A float constant for integers with their steps."""
        import onnx

        if (made := f"{name}_float") not in self._constants:
            whole, scale, *zero = (self._constants[part] for part in dequantised.input)
            axis = next((a.i for a in dequantised.attribute if a.name == "axis"), 1)
            shape = [-1 if i == axis else 1 for i in range(whole.ndim)] if scale.size > 1 else []
            offset = zero[0].astype(np.float32).reshape(shape) if zero else np.float32(0)
            array = (whole.astype(np.float32) - offset) * scale.reshape(shape)
            self._constants[made] = array = array.astype(np.float32)
            self._graph.initializer.append(onnx.numpy_helper.from_array(array, made))
        return made

    def _activated(self, tensor: str, maker: "onnx.NodeProto", owner: "Operator") -> str:
        """The tensor, behind a node for an activation that rounding stood for."""
        from onnx import helper, numpy_helper

        activation = getattr(owner, "activation", "none")
        if tensor != owner.name or activation not in _HIGHEST or maker.op_type in ("Relu", "Clip"):
            return tensor
        made = f"{tensor}/activated"
        if made not in self._makers:
            inputs, highest = [tensor], _HIGHEST[activation]
            if highest is not None:
                inputs += [f"{made}_lowest", f"{made}_highest"]
                limits = zip(inputs[1:], (0.0, highest), strict=True)
                self._graph.initializer.extend(numpy_helper.from_array(np.array(v, np.float32), n) for n, v in limits)
            kind = "Relu" if highest is None else "Clip"
            self._makers[made] = self._graph.node.add()
            self._makers[made].CopyFrom(helper.make_node(kind, inputs, [made], name=made))
        return made
