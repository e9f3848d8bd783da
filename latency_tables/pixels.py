"""The preprocessing of a network as the first nodes of its ONNX graph: pixels in, logits out."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx


def with_preprocessing(
    model: "onnx.ModelProto", mean: np.ndarray, std: np.ndarray, image_size: int
) -> "onnx.ModelProto":
    """A copy of a model of `onnx_model` that takes pixels instead of normalised maps.

    Its input "pixels" is uint8 `[batch, image_size, image_size, c]`; pixels are scaled to 0..1, normalised, and resized
    bilinearly (with antialiasing, as in training) where the network works on another size.

    Args:
        model: With the one input "image" float32 `[batch, c, size, size]`.
        mean: Of each channel on the scale 0..1, `[c]`.
        std: Likewise.
        image_size: Height and width of the pixels.
    """
    import onnx
    from onnx import helper, numpy_helper

    out = onnx.ModelProto()
    out.CopyFrom(model)
    graph = out.graph
    (image,) = graph.input
    batch, channels, size = (_length(image.type.tensor_type.shape.dim[i]) for i in (0, 1, 2))
    scale = (1 / (255 * np.asarray(std, np.float64))).astype(np.float32)
    shift = (-np.asarray(mean, np.float64) / std).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["pixels/float"], name="pixels/float", to=onnx.TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels/float"], ["pixels/maps"], name="pixels/maps", perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["pixels/maps", "pixels/scale"], ["pixels/scaled"], name="pixels/scaled"),
    ]
    normalised = "image" if size == image_size else "pixels/normalised"
    nodes.append(helper.make_node("Add", ["pixels/scaled", "pixels/shift"], [normalised], name="pixels/shifted"))
    constants = [
        numpy_helper.from_array(scale[:, None, None], "pixels/scale"),
        numpy_helper.from_array(shift[:, None, None], "pixels/shift"),
    ]
    if size != image_size:
        # as products with a matrix: Resize with antialiasing differs between runtimes
        resize = resize_matrix(image_size, int(size))
        constants.append(numpy_helper.from_array(resize, "pixels/rows"))
        constants.append(numpy_helper.from_array(np.ascontiguousarray(resize.T), "pixels/columns"))
        nodes.append(helper.make_node("MatMul", [normalised, "pixels/columns"], ["pixels/wide"], name="pixels/wide"))
        nodes.append(helper.make_node("MatMul", ["pixels/rows", "pixels/wide"], ["image"], name="pixels/resized"))
    after = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *after])
    graph.initializer.extend(constants)
    shape = [batch, image_size, image_size, channels]
    graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, shape))
    onnx.checker.check_model(out, full_check=True)
    return out


def resize_matrix(old: int, new: int) -> np.ndarray:
    """Weights float32 `[new, old]` of a bilinear resize with half-pixel centres, antialiased where it shrinks.

    The triangle widens with the factor, and weights outside the picture are shared out among those inside.
    """
    factor = old / new
    centres = (np.arange(new) + 0.5) * factor - 0.5
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(old)) / max(factor, 1))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _length(dimension: "onnx.TensorShapeProto.Dimension") -> int | str:
    return dimension.dim_param or dimension.dim_value
