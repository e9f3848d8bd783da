"""What lies beside an exported network: a program that runs it, and a card for people."""

from pathlib import Path
from string import Template
from typing import Any

from nas.files import write_bytes
from nas.intervals import LEVEL, wilson

_EXAMPLE = '''"""Classifies pictures with $name.onnx. Needs numpy, pillow and onnxruntime, nothing else.

    python $name.py PICTURE...
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
CARD = json.loads((HERE / "$name.json").read_text(encoding="utf-8"))
INPUT, PREPROCESSING = CARD["input"], CARD["preprocessing"]


def prepare(picture):
    """A picture as the network's input, float32 [channels, size, size], exactly as in training."""
    side, size = INPUT["image_size"], INPUT["size"]
    upright = ImageOps.exif_transpose(picture).convert("L" if INPUT["channels"] == 1 else "RGB")
    if upright.size != (side, side):
        upright = ImageOps.fit(upright, (side, side), method=Image.Resampling.BICUBIC)
    pixels = np.asarray(upright, np.float32).reshape(side, side, -1)
    x = (pixels * np.float32(PREPROCESSING["scale"]) - PREPROCESSING["mean"]) / PREPROCESSING["std"]
    maps = x.astype(np.float32).transpose(2, 0, 1)
    if size != side:
        maps = [np.asarray(Image.fromarray(m).resize((size, size), Image.Resampling.BILINEAR)) for m in maps]
    return np.ascontiguousarray(maps, dtype=np.float32)


def main():
    """Prints a line a picture: the three likeliest classes."""
    session = onnxruntime.InferenceSession(str(HERE / "$name.onnx"), providers=["CPUExecutionProvider"])
    for path in sys.argv[1:]:
        with Image.open(path) as picture:
            x = np.repeat(prepare(picture)[None], INPUT["batch"], axis=0)
        logits = session.run(None, {"image": x})[0][0].ravel()
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        best = np.argsort(-shares)[:3]
        print(path, *(f"{CARD['classes'][i]} {shares[i]:.1%}" for i in best), sep="\\t")


if __name__ == "__main__":
    main()
'''


def write_companions(card: dict[str, Any]) -> None:
    """Writes `NAME.py` and `NAME.md` beside the file of a card."""
    path = Path(card["path"])
    example = Template(_EXAMPLE).safe_substitute(name=path.stem)
    write_bytes(path.with_suffix(".py"), example.encode())
    write_bytes(path.with_suffix(".md"), model_card(card).encode())


def model_card(card: dict[str, Any]) -> str:
    """A card in Markdown: what the network is, how well it does, where that was measured, what it is not for."""
    low, high = wilson(card["accuracy"], card["test_images"])
    latency, conditions = card["latency_ms"], card["conditions"]
    limit = (
        "none"
        if card["limit_ms"] is None
        else f"{card['limit_ms']:g} ms, {'met' if card['meets_limit'] else 'NOT met'}"
    )
    predicted = card["predicted_latency_ms"]
    rows = {
        "architecture": f"`{card['arch']}` of {card['space']['name']}",
        "precision": card["precision"],
        f"test accuracy ({LEVEL:.0%} interval)": f"{card['accuracy']:.2f} % ({low:.2f}-{high:.2f}), "
        f"{card['test_images']} images",
        "validation accuracy in the search": f"{card['accuracy_validation']:.2f} %",
        "latency": f"{latency['median']:.3f} ms (10-90 %: {latency['p10']:.3f}-{latency['p90']:.3f}), "
        f"{card['latency_runs']} calls",
        "predicted latency": "unknown" if predicted is None else f"{predicted:.3f} ms",
        "latency limit": limit,
        "device": f"{conditions['device']}: {conditions.get('accelerator') or conditions['cpu']}, "
        f"ONNX Runtime {conditions['onnxruntime']}, {conditions['threads']} thread(s), batch {conditions['batch']}",
        "multiply-accumulates": f"{card['macs'] / 1e6:.2f} M",
        "parameters": f"{card['params']:,}",
        "peak activation memory": f"{card['peak_memory_bytes'] / 1024:.0f} KiB",
        "largest difference from Flax": f"{card['max_abs_diff']:.1e}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    size = card["input"]
    return f"""# {card["name"]}

Image classifier for {len(card["classes"])} classes: {_some(card["classes"])}.
Trained on `{card["data"]}`; found by neural architecture search and taken from a weight-sharing supernet.

| | |
|---|---|
{table}

## Use

Input: {size["channels"]} x {size["size"]} x {size["size"]} float32 (NCHW), pixels / 255, less the mean
{_numbers(card["preprocessing"]["mean"])}, over the standard deviation {_numbers(card["preprocessing"]["std"])}.
`{Path(card["path"]).stem}.py` does it: `python {Path(card["path"]).stem}.py PICTURE`.

## Limits

Only these classes, and only pictures like those of the data set, are within what was tested. The latency holds for the
device and settings above. The search picked the best of many networks on validation images, so the validation
accuracy is optimistic; the test accuracy is not.
"""


def _some(names: list[str]) -> str:
    return ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")


def _numbers(values: list[float]) -> str:
    return "(" + ", ".join(f"{value:.4f}" for value in values) + ")"
