"""Latency of what a server does before the network runs: decode a JPEG, resize it, normalise it."""

import io
import time

import numpy as np

_MEAN, _DEVIATION = 127.5, 58.0  # about ImageNet's, on 0..255


def encoded_picture(pixels: int, channels: int) -> bytes:
    """A JPEG of smooth structure with noise, `pixels` on each side: decodes about like a photograph."""
    from PIL import Image

    y, x = np.mgrid[0:pixels, 0:pixels] / pixels
    waves = np.stack([np.sin(7 * x + 3 * c) * np.cos(5 * y - c) for c in range(3)], axis=-1)
    noise = np.random.default_rng(0).normal(0, 0.08, waves.shape)
    values = np.clip(127.5 + 100 * (waves + noise), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(values if channels == 3 else values[..., 0]).save(file, "JPEG", quality=90)
    return file.getvalue()


def preprocess(data: bytes, size: int, channels: int) -> np.ndarray:
    """A JPEG as the network's input: float32 `[channels, size, size]`, normalised."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB" if channels == 3 else "L", (size, size))  # the decoder may skip detail that resizing drops
        picture = image.convert("RGB" if channels == 3 else "L").resize((size, size), Image.Resampling.BILINEAR)
    array = np.asarray(picture, dtype=np.float32).reshape(size, size, channels)
    return np.ascontiguousarray((array.transpose(2, 0, 1) - _MEAN) / _DEVIATION)


def measure_preprocess(pixels: int, size: int, channels: int, batch: int, calls: int = 40) -> dict[str, float]:
    """Milliseconds a call (of `batch` pictures) on this machine, one thread: median, p10, p90.

    Args:
        pixels: Side of the JPEG.
        size: Side of the network's input.
        channels: 3, or 1 for grey pictures.
        batch: Pictures a call.
        calls: Recorded calls; a tenth as many come before them.
    """
    data = encoded_picture(pixels, channels)
    times = []
    for _ in range(calls + max(1, calls // 10)):
        start = time.perf_counter()
        np.stack([preprocess(data, size, channels) for _ in range(batch)])
        times.append((time.perf_counter() - start) * 1e3)
    low, middle, high = (float(q) for q in np.quantile(times[-calls:], (0.1, 0.5, 0.9)))
    return {"median": middle, "p10": low, "p90": high}
