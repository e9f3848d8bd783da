"""Running an ONNX model over a set of images."""

from pathlib import Path
from typing import Any

import numpy as np


def logits(model: str | Path | bytes, images: np.ndarray, *, threads: int = 1) -> np.ndarray:
    """Outputs `[n, classes]` of an ONNX file or its bytes for its input: images `[n, c, h, w]` float32, or pixels.

    A model with a fixed batch gets batches of that size, the last one padded.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    source: Any = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    batch = entry.shape[0] if isinstance(entry.shape[0], int) else 100
    outputs = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        padded = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), images.dtype)])
        outputs.append(session.run(None, {entry.name: padded})[0].reshape(batch, -1)[: len(part)])
    return np.concatenate(outputs)


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Percent of rows whose largest output is the label."""
    return float(100 * np.mean(outputs.argmax(axis=1) == labels))
