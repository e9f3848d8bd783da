"""From a network to the model that is timed: the emitted graph in the device's precision."""

from functools import lru_cache
from typing import TYPE_CHECKING

from latency_tables.emit import onnx_model
from latency_tables.errors import DeviceError
from latency_tables.int8 import quantized_for_timing
from search_spaces import Network, NetworkBuilder

if TYPE_CHECKING:
    from latency_tables.devices import Device

INT8_FORMATS = {"int8": "QDQ", "int8-qoperator": "QOperator"}  # from a device's precision to ONNX Runtime's format


def timed_model(network: Network, device: "Device") -> bytes:
    """A network with random weights as bytes of an ONNX file, in the precision and batch of a device."""
    if device.precision in INT8_FORMATS:
        model = quantized_for_timing(onnx_model(network, batch=device.batch), INT8_FORMATS[device.precision])
    else:
        model = onnx_model(network, batch=device.batch, half=device.precision == "fp16")
    return bytes(model.SerializeToString())


@lru_cache(maxsize=8)
def require_half(provider: str) -> None:
    """Raises DeviceError unless a provider of the installed ONNX Runtime has fp16 kernels of its own.

    Asked of the runtime: where it has none, it inserts casts around the convolution and runs fp32.
    """
    import tempfile
    from pathlib import Path

    import onnx
    import onnxruntime

    b = NetworkBuilder("half", in_channels=16, size=8)
    b.conv("conv", b.image, 16, kernel=3, activation="relu")
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(Path(folder, "half.onnx"))
        model = onnx_model(b.build(), half=True).SerializeToString()
        try:
            onnxruntime.InferenceSession(model, options, providers=[provider])
            kinds = {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node}
        except Exception as error:  # the runtime has no common base of its errors
            raise DeviceError(f"Provider {provider!r} cannot run fp16 here ({str(error)[:120]}); use fp32.") from error
    if "Cast" in kinds:
        raise DeviceError(
            f"Provider {provider!r} has no fp16 convolution in the installed ONNX Runtime, which would cast to fp32; "
            "use precision fp32 or int8, or another provider."
        )
