"""What a network costs on a device: ONNX emission, measuring, and tables of kernel latencies."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latency_tables.devices import Device, built_in_devices, device_fingerprint, get_device
    from latency_tables.emit import onnx_model, operators_model
    from latency_tables.errors import DeviceError, MissingKernelError, QuantisationError, TableError, WeightsError
    from latency_tables.int8 import Quantisation, quantize
    from latency_tables.measuring import Anchors, Effort, Latency, measure
    from latency_tables.plan import Executor, LocalExecutor, Plan
    from latency_tables.profiling import profile
    from latency_tables.progress import Progress
    from latency_tables.table import KernelLatency, LatencyTable, Prediction

# Where each public name lives; modules are imported when a name of theirs is first used.
_MODULES = {
    "Anchors": "measuring",
    "Device": "devices",
    "DeviceError": "errors",
    "Effort": "measuring",
    "Executor": "plan",
    "KernelLatency": "table",
    "Latency": "measuring",
    "LatencyTable": "table",
    "LocalExecutor": "plan",
    "MissingKernelError": "errors",
    "Plan": "plan",
    "Prediction": "table",
    "Progress": "progress",
    "Quantisation": "int8",
    "QuantisationError": "errors",
    "TableError": "errors",
    "WeightsError": "errors",
    "built_in_devices": "devices",
    "device_fingerprint": "devices",
    "get_device": "devices",
    "measure": "measuring",
    "onnx_model": "emit",
    "operators_model": "emit",
    "profile": "profiling",
    "quantize": "int8",
}

__all__ = [
    "Anchors",
    "Device",
    "DeviceError",
    "Effort",
    "Executor",
    "KernelLatency",
    "Latency",
    "LatencyTable",
    "LocalExecutor",
    "MissingKernelError",
    "Plan",
    "Prediction",
    "Progress",
    "Quantisation",
    "QuantisationError",
    "TableError",
    "WeightsError",
    "built_in_devices",
    "device_fingerprint",
    "get_device",
    "measure",
    "onnx_model",
    "operators_model",
    "profile",
    "quantize",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
