"""ONNX Runtime sessions as every measurement uses them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latency_tables.devices import OPTIMIZATION, Device
from latency_tables.emit import onnx_model
from search_spaces import Network

if TYPE_CHECKING:
    import onnx
    import onnxruntime


@dataclass(frozen=True)
class Runner:
    """A session and a fixed random input for it; calling it runs the model once."""

    session: "onnxruntime.InferenceSession"
    feed: dict[str, np.ndarray]

    def __call__(self) -> None:
        self.session.run(None, self.feed)


def session_options(device: Device) -> "onnxruntime.SessionOptions":
    """Options of a device: fixed thread count, operators one after the other, all graph optimisations.

    Worker threads spin between the operators of a call, which is ONNX Runtime's default and what
    a server does, but stop at its end: idle sessions would take the cores of the one measured.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = device.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, OPTIMIZATION)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return options


def make_runner(
    model: "Network | onnx.ModelProto | bytes | str | Path",
    device: Device,
    options: "onnxruntime.SessionOptions | None" = None,
) -> Runner:
    """A session of a network, ONNX model or ONNX file on a device, with its input.

    Symbolic dimensions of the input become the device's batch.
    """
    import onnxruntime

    if isinstance(model, Network):
        model = onnx_model(model, batch=device.batch)
    if hasattr(model, "SerializeToString"):
        model = model.SerializeToString()
    provider = (device.provider, dict(device.provider_options))
    session = onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options or session_options(device), providers=[provider]
    )
    rng = np.random.default_rng(0)
    feed = {}
    for value in session.get_inputs():
        shape = [n if isinstance(n, int) else device.batch for n in value.shape]
        feed[value.name] = rng.random(shape, dtype=np.float32)
    return Runner(session, feed)
