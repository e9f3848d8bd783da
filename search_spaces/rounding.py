"""Where an INT8 network rounds its activations: what quantised training imitates and quantised files contain.

The places are those at which ONNX Runtime runs integer kernels from one to the next: it fuses a
convolution only if its own result is rounded, before a residual is added or an activation that has
no integer kernel is computed in float.
"""

from search_spaces.operators import Conv, Linear, Operator, Pool, Shuffle, Sum

FLOAT_ACTIVATIONS = ("hswish", "hsigmoid", "sigmoid")
UNSIGNED_ACTIVATIONS = ("relu", "relu6", "hsigmoid", "sigmoid")
RELU6 = 6.0


def places(op: Operator) -> tuple[str, ...]:
    """Which results inside an operator are rounded, in order.

    Returns:
        "conv" (a convolution, before the residual), "linear" (before an activation in float), "out" (what
        others read); nothing for an operator that moves or selects values, which stay as rounded as they were.
    """
    if isinstance(op, Shuffle) or (isinstance(op, Pool) and op.reduce == "max"):
        return ()
    found = []
    if isinstance(op, Conv) and len(op.inputs) == 2:
        found.append("conv")
    if isinstance(op, Conv | Linear | Sum) and op.activation in FLOAT_ACTIVATIONS:
        found.append("linear")
    return (*found, "out")


def signed(op: Operator, place: str) -> bool:
    """Whether the result at a place can be below zero, so that it needs an offset."""
    if place != "out":
        return True
    if isinstance(op, Conv | Linear | Sum):
        return op.activation not in UNSIGNED_ACTIVATIONS
    return True


def largest_scale(op: Operator, place: str, levels: int) -> float:
    """The largest step between two of `levels + 1` values that keeps an activation's upper bound; else infinity."""
    bounded = place == "out" and getattr(op, "activation", "none") == "relu6"
    return RELU6 / levels if bounded else float("inf")
