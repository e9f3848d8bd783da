"""Networks of fronts trained on their own and then quantised: what they are worth where none shares its weights."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from space_compare import space_of
from space_fronts import RECORD
from train_alone import recipe, trained_alone

from latency_tables.int8 import quantize
from nas.files import write_json
from supernets.data import Dataset
from supernets.images import nchw, prepare

_KEPT_OUT = 5000  # of the training images, a tenth at most: as many as supernets keep for their search
_CALIBRATION = 256


@dataclass(frozen=True)
class Alone:
    """How networks are trained on their own, each with its front's seed; then quantised by the extremes of activations.

    Attributes:
        epochs: Of each.
        batch: Images a step.
        precision: "fp32", or "bf16" for activations and products.
        networks: Of each front, evenly from the fastest to the slowest.
    """

    epochs: int
    batch: int
    precision: Literal["fp32", "bf16"]
    networks: int


def picked(front: dict[str, Any], how: Alone) -> list[int]:
    """Which networks of a front, as `space_fronts.measured` has it."""
    n = len(front["networks"])
    return [int(i) for i in np.unique(np.linspace(0, n - 1, how.networks).round())]


def train_one(front: dict[str, Any], index: int, data: Dataset, folder: Path, how: Alone) -> Path:
    """Trains a network of a front, unless that was done before, and quantises it.

    Args:
        front: As `space_fronts.measured` has it.
        index: Of its network.
        data: To train on.
        folder: Of the new files.
        how: As it says.

    Returns:
        The INT8 file, INDEX.onnx.

    Raises:
        SystemExit: if another network, or this one in another way, was trained there.
    """
    path, place, asked = folder / f"{index}.onnx", folder / str(index), _asked(front, index, data.name, how)
    place.mkdir(parents=True, exist_ok=True)
    if not (folder / f"{index}.json").is_file():
        write_json(folder / f"{index}.json", asked)
    if not _begun_so(folder, index, asked):
        raise SystemExit(f"{path} is of another network, data or training; use the same options, or another --out.")
    if path.is_file():
        return path
    space = space_of(front)
    split = data.split(min(_KEPT_OUT, len(data.train_images) // 10), front["seed"])
    config = recipe(how.epochs, how.batch, precision=how.precision, seed=front["seed"])
    network = trained_alone(space, space.parse(front["networks"][index]["arch"]), data, split, config, place)
    images = prepare(split.train_images[:_CALIBRATION], data.mean, data.std, size=network.size)
    quantize(place / "fp32.onnx", nchw(np.asarray(images)), place / "int8.onnx")
    return (place / "int8.onnx").replace(path)


def _asked(front: dict[str, Any], index: int, data: str, how: Alone) -> dict[str, Any]:
    """What decides the file of a network; how many of a front are trained does not."""
    training = {key: value for key, value in asdict(how).items() if key != "networks"}
    arch = front["networks"][index]["arch"]
    return {"space": front["space"], "arch": arch, "seed": front["seed"], "data": data, "training": training}


def _begun_so(folder: Path, index: int, asked: dict[str, Any]) -> bool:
    """Whether a network's training was begun as it is asked for now."""
    return bool(json.loads((folder / f"{index}.json").read_text(encoding="utf-8")) == asked)


def record(front: dict[str, Any], data: str, folder: Path, how: Alone) -> bool:
    """Writes down a front of networks trained alone, if all are there; whether they are."""
    rows = []
    for i in picked(front, how):
        if not ((folder / f"{i}.onnx").is_file() and _begun_so(folder, i, _asked(front, i, data, how))):
            return False
        row = front["networks"][i]
        rows.append({key: row[key] for key in ("arch", "size", "table_ms")} | {"file": f"{i}.onnx"})
    kept = {key: front[key] for key in ("space", "seed")}
    write_json(folder / RECORD, kept | {"alone": asdict(how), "networks": rows})
    return True
