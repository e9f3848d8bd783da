"""Kernel times in context: ONNX Runtime's own profile of whole networks, mapped back to operators.

What ONNX Runtime makes of a graph is read from its optimised model, not assumed. In fp32 on the
CPU convolution, folded batch norm, residual addition and activation become one node, so nodes
and our operators correspond one to one; besides them there are layout changes (ReorderInput,
ReorderOutput). A layout change is the doing of the side that works in plain NCHW, mostly the
product of squeeze-excite, and its time is added to that operator's. In INT8 an operator is its
quantised node and the conversions, activations and transpositions that go with it.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from latency_tables.errors import TableError
from search_spaces import Network


def kernel_times(
    networks: Sequence[Network], profiles: Sequence[Mapping[str, Any]], *, rounds: int, anchors: int = 0
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Milliseconds of every kernel of some networks, one number a recorded call.

    The machine drifts while networks take turns: every turn's times are divided by its speed, the
    median over the networks of their total time in it over their typical one.

    Args:
        networks: What was profiled.
        profiles: What `device_side.trace` returned for them.
        rounds: Turns.
        anchors: So many of the networks, the last ones, are there to compare batches only.

    Returns:
        From an operator's key to times (operators with the same key are pooled), and typical total
        times of the anchors.

    Raises:
        TableError: if the profiles are not those of the networks.
    """
    if len(networks) != len(profiles):
        raise TableError(f"There are {len(profiles)} profiles of {len(networks)} networks; measure again.")
    found = [operator_times(*pair) for pair in zip(networks, profiles, strict=True)]
    calls = {len(times) for own in found for times in own.values()}
    if len(calls) != 1 or (count := calls.pop()) % rounds:
        raise TableError(f"The profiles of {networks[0].name!r} are not of {rounds} turns each; measure again.")
    totals = np.array([sum(own.values()) for own in found]).reshape(len(found), rounds, -1)
    turns = np.median(totals, axis=2)  # networks x turns
    speed = np.median(turns / np.median(turns, axis=1, keepdims=True), axis=0)
    per_call = np.repeat(speed, count // rounds)
    pooled: dict[str, list[np.ndarray]] = {}
    for network, own in zip(networks[: len(networks) - anchors], found, strict=False):
        for op in network:
            pooled.setdefault(op.key, []).append(own[op.name] / per_call)
    typical = np.median(turns / speed, axis=1)[len(networks) - anchors :]
    return {key: np.concatenate(times) for key, times in pooled.items()}, typical.tolist()


def operator_times(network: Network, profile: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Milliseconds of every operator in every call: the sum over its nodes.

    Nodes that ONNX Runtime left without a name (HardSwish after a matrix product becomes two such)
    run right after the operator that they belong to.
    """
    try:
        owners = node_owners(base64.b64decode(profile["graph"], validate=True), network)
        us = np.asarray(profile["us"], dtype=np.float64)
        if us.ndim != 2 or us.shape[1] != len(profile["nodes"]) or not np.isfinite(us).all():
            raise ValueError(f"times of shape {us.shape} for {len(profile['nodes'])} nodes")
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise TableError(f"The profile of {network.name!r} is damaged ({error}); measure again.") from error
    total: dict[str, np.ndarray] = {}
    owner = network.operators[0].name
    for i, node in enumerate(profile["nodes"]):
        owner = owners.get(node, owner)
        total[owner] = total.get(owner, 0.0) + us[:, i] / 1e3
    if missing := [op.name for op in network if op.name not in total]:
        raise TableError(f"The profile of {network.name!r} has no time for operator {missing[0]!r}; measure again.")
    return total


def node_owners(optimised: bytes, network: Network) -> dict[str, str]:
    """For every named node of an optimised model, the name of the operator that causes it.

    A node is named after the operator that it came from ("stem/linear_nchwc"). A node that ONNX
    Runtime inserted goes to the operator that made it necessary; any other to the one it feeds,
    or where it feeds none to the one that feeds it.

    Raises:
        ValueError: if the bytes are no ONNX model.
    """
    import onnx

    try:
        nodes = onnx.ModelProto.FromString(optimised).graph.node
    except Exception as error:  # protobuf's own, which is not a ValueError
        raise ValueError("the optimised graph is no ONNX model") from error
    names = sorted((op.name for op in network), key=len, reverse=True)
    producer = {output: node for node in nodes for output in node.output}
    consumer = {value: node for node in reversed(nodes) for value in node.input}

    def direct(node: "onnx.NodeProto") -> str | None:
        for text in (node.name, *node.output):
            for name in names:
                if text.startswith(name) and (len(text) == len(name) or text[len(name)] in "/_"):
                    return name
        return None

    def owner(node: "onnx.NodeProto") -> str:
        for _ in range(len(nodes)):
            # a layout change is named after its tensor, whose maker need not be the cause
            changes_layout = node.op_type in ("ReorderInput", "ReorderOutput")
            if not changes_layout and (found := direct(node)):
                return found
            before = producer.get(node.input[0]) if node.input else None
            after = consumer.get(node.output[0]) if node.output else None
            near = (before or after) if node.op_type == "ReorderInput" else (after or before)
            if near is None:
                break
            if found := direct(near):
                return found
            node = near
        raise ValueError(f"node {node.name!r} belongs to no operator")

    return {node.name: owner(node) for node in nodes if node.name}
