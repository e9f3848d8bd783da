"""Kernel times in context: ONNX Runtime's own profile of whole networks, mapped back to operators.

What ONNX Runtime 1.32 makes of a graph is read from its optimised model, not assumed. On the
CPU convolution, folded batch norm, residual addition and activation become one node, so nodes
and our operators correspond one to one; besides them there are layout changes (ReorderInput,
ReorderOutput). A layout change is the doing of the side that works in plain NCHW, mostly the
product of squeeze-excite, and its time is added to that operator's.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from latency_tables.devices import Device
from latency_tables.sessions import make_runner, session_options
from search_spaces import Network

_SUFFIX = "_kernel_time"
_LAYOUT_CHANGES = ("ReorderInput", "ReorderOutput")


def kernel_times(networks: Sequence[Network], device: Device, *, rounds: int, calls: int) -> dict[str, np.ndarray]:
    """Milliseconds of every kernel of some networks, one number a recorded call.

    Args:
        networks: Profiled in turns, `rounds` times.
        device: Where.
        rounds: Turns.
        calls: Recorded calls of a turn; two more come before them to settle the caches.

    Returns:
        From an operator's key to times; operators with the same key are pooled.
    """
    found: dict[str, list[np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        runners = []
        for i, network in enumerate(networks):
            options = session_options(device)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder, f"profile{i}"))
            options.optimized_model_filepath = str(Path(folder, f"optimized{i}.onnx"))
            runners.append(make_runner(network, device, options))
        for _ in range(rounds):
            for runner in runners:
                for _ in range(calls + 2):
                    runner()
        for i, (network, runner) in enumerate(zip(networks, runners, strict=True)):
            owners = node_owners(Path(folder, f"optimized{i}.onnx"), network)
            keys = {op.name: op.key for op in network}
            for name, times in _operator_times(Path(runner.session.end_profiling()), owners).items():
                turns = times.reshape(rounds, calls + 2)[:, 2:]
                found.setdefault(keys[name], []).append(turns.reshape(-1))
    return {key: np.concatenate(times) for key, times in found.items()}


def _operator_times(profile: Path, owners: dict[str, str]) -> dict[str, np.ndarray]:
    """Milliseconds of every operator in every call: the sum over its nodes.

    Nodes that ONNX Runtime left without a name (HardSwish after a matrix product becomes two such)
    run right after the operator that they belong to.
    """
    nodes: dict[str, list[int]] = {}
    owner = ""
    found: dict[str, str] = {}
    for event in json.loads(profile.read_text(encoding="utf-8")):
        if event["cat"] == "Node" and event["name"].endswith(_SUFFIX):
            node = event["name"].removesuffix(_SUFFIX)
            owner = owners.get(node, owner)
            nodes.setdefault(node, []).append(event["dur"])
            found[node] = owner
    total: dict[str, np.ndarray] = {}
    for node, microseconds in nodes.items():
        total[found[node]] = total.get(found[node], 0.0) + np.array(microseconds) / 1e3
    return total


def node_owners(optimised: Path, network: Network) -> dict[str, str]:
    """For every node of an optimised model, the name of the operator that causes it.

    A node is named after the operator that it came from ("stem/linear_nchwc"). A node that ONNX
    Runtime inserted goes to the operator that made it necessary; any other to the one it feeds.
    """
    import onnx

    nodes = onnx.load(optimised).graph.node
    names = sorted((op.name for op in network), key=len, reverse=True)
    producer = {output: node for node in nodes for output in node.output}
    consumer = {value: node for node in reversed(nodes) for value in node.input}

    def direct(node: "onnx.NodeProto") -> str | None:
        heads = [text.removesuffix("_nchwc").partition("/")[0] for text in (node.name, *node.output)]
        return next((name for name in names if name in heads), None)

    def owner(node: "onnx.NodeProto") -> str:
        inserted = node.op_type in _LAYOUT_CHANGES
        if not inserted and (found := direct(node)):
            return found
        before, after = producer.get(node.input[0]), consumer.get(node.output[0])
        first, second = (before, after) if node.op_type == "ReorderInput" else (after, before)
        near = first if first is not None else second
        if near is None:
            raise TypeError(f"Node {node.name!r} of {network.name!r} belongs to no operator.")
        return direct(near) or owner(near)

    return {node.name: owner(node) for node in nodes}
