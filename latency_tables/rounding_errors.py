"""What a quantised file rounds: the error of every operator's weights, and the steps of the values between them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search_spaces import Network

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class RoundingError:
    """Of one operator.

    Attributes:
        weights: Mean squared difference of its weights; 0 for an operator that has none.
        step: Between two values of its output; 0 where the file does not round it by a step of its own (pools
            keep the step of what they read).
    """

    weights: float
    step: float


def rounding_errors(
    model: "onnx.ModelProto", quantised: "onnx.ModelProto", network: Network
) -> tuple[float, dict[str, RoundingError]]:
    """The step of the image, and the errors of all operators by name.

    Args:
        model: The fp32 model.
        quantised: The same with all operators in QDQ form.
        network: What they hold.
    """
    exact, rounded = constants(model), constants(quantised)
    found = {}
    for op in network:
        name = f"{op.name}.weight"
        difference = 0.0
        if f"{name}_quantized" in rounded:
            difference = float(((_dequantised(rounded, name) - exact[name].astype(np.float64)) ** 2).mean())
        # a ReLU that the rounding implies is left out: its input is then rounded in its place
        steps = [rounded.get(f"{tensor}_scale") for tensor in (op.name, f"{op.name}/linear")]
        step = next((float(s) for s in steps if s is not None), 0.0)
        found[op.name] = RoundingError(difference, step)
    return float(rounded.get("image_scale", 0.0)), found


def constants(model: "onnx.ModelProto") -> dict[str, np.ndarray]:
    """The constants of a model by name: "stem.weight", "stem.bias", and the steps of a quantised one."""
    import onnx

    return {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}


def _dequantised(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    integers = arrays[f"{name}_quantized"].astype(np.float64)
    spread = (-1, *[1] * (integers.ndim - 1))
    scale, zero = (np.asarray(arrays[f"{name}_{part}"], np.float64).reshape(spread) for part in ("scale", "zero_point"))
    return (integers - zero) * scale
