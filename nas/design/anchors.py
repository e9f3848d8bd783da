"""Real trainings that set the block types of a design against each other.

How well a stage imitates a teacher says which of two networks of one block type is the better one, and less about two
block types: at equal loss their networks, trained, can lie points apart. So a few networks of each block type
throughout, the best under each limit by the distilled losses, are trained on the labels. The error of network i of type
k is taken for a_k + b L_i, with one slope b for all types; what a_k has above the least of them is added, as a
loss and in equal parts, to the type's stages. Not in the paper.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nas.console import progress
from nas.design.best import Archs, best_under, genotype
from nas.design.lookup import Lookup
from nas.design.workers import OnStep, spread
from nas.errors import RunError
from nas.files import write_bytes, write_json
from nas.memory import release_memory
from nas.onnx_eval import accuracy, logits
from nas.runs import Run
from nas.subnets import Subnets
from nas.train_run import recorded_training
from search_spaces.hyperspace import Hyperspace
from search_spaces.spaceevo import STAGES
from search_spaces.spaceevo_blocks import BLOCKS

_BATCH = 100  # images a run of a file


class Anchor(NamedTuple):
    """A network of one block type throughout.

    Attributes:
        kind: The block type, position in `BLOCKS`.
        arch: Text of its genotype in the hyperspace's space of that type with every width.
        loss: Distilled, the sum of its stages'.
        latency_ms: By the table.
    """

    kind: int
    arch: str
    loss: float
    latency_ms: float


def anchors_of(lookup: Lookup, archs: Archs, limits_ms: Sequence[float]) -> list[Anchor]:
    """Of every block type the networks of least loss under the limits; its fastest, where none is under any."""
    found = []
    for kind in lookup.hyper.types:
        blocks, space = (kind,) * len(STAGES), lookup.hyper.widest(lookup.hyper.throughout(kind))
        for pick in best_under(lookup, blocks, limits_ms):
            arch = space.to_text(genotype(space, lookup, blocks, archs, pick))
            found.append(Anchor(kind, arch, pick.loss, pick.latency_ms))
    return found


@dataclass(frozen=True)
class AnchorTrainer:
    """Trains anchors as the teacher was, each with the same seed, and keeps their errors.

    Attributes:
        folder: Where.
        run: The teacher's folder; of its images those that it kept out judge.
        hyper: Whose networks.
        epochs: Of each.
        int8: Whether the error is that of the file quantised after training.
    """

    folder: Path
    run: Path
    hyper: Hyperspace
    epochs: int
    int8: bool

    def path(self, kind: int, arch: str) -> Path:
        """Where an anchor's error is kept; of other images or another recipe it is another file."""
        told = self._told
        trained = [arch, self.epochs, self.int8, told["train"], told["data"]["fingerprint"], told["data"]["validation"]]
        digest = hashlib.sha256(json.dumps(trained, sort_keys=True).encode()).hexdigest()[:8]
        return self.folder / f"{BLOCKS[kind].name}-{digest}.json"

    @cached_property
    def _told(self) -> dict[str, Any]:
        return Run.open(self.run).config

    @cached_property
    def _subnets(self) -> Subnets:
        return Subnets(Run.open(self.run))

    def __call__(self, item: tuple[int, str], on_step: OnStep) -> None:
        """Trains one and writes its error down; a killed training goes on from its checkpoint."""
        from latency_tables import onnx_model
        from latency_tables.int8 import quantize
        from supernets import train
        from supernets.images import nchw

        (kind, text), subnets = item, self._subnets
        space, path = self.hyper.widest(self.hyper.throughout(kind)), self.path(kind, text)
        place, split = path.with_suffix(""), subnets.split
        config = replace(
            recorded_training(subnets.run),
            method="scratch",
            arch=text,
            epochs=self.epochs,
            warm_epochs=0,
            sampling="uniform",
        )
        params = train(
            space,
            split.train_images,
            split.train_labels,
            mean=subnets.data.mean,
            std=subnets.data.std,
            config=config,
            folder=place / "checkpoints",
            on_step=lambda report: on_step(f"{path.stem}, loss {report.loss:.3f}, accuracy {report.accuracy:.1f} %"),
        )
        network = space.network(space.parse(text))
        weights = subnets.trained_weights(params, network, config)
        images = nchw(subnets.images(split.validation_images, network.size))
        file = place / "fp32.onnx"
        write_bytes(file, onnx_model(network, weights, batch=min(_BATCH, len(images))).SerializeToString())
        if self.int8:
            file = quantize(file, nchw(subnets.calibration_images(network.size)), place / "int8.onnx")
        error = 100 - accuracy(logits(file, images), split.validation_labels)
        write_json(
            path, {"arch": text, "epochs": self.epochs, "int8": self.int8, "error": error, "images": len(images)}
        )
        shutil.rmtree(place)
        release_memory()  # its programs, of which every network has its own


class Measured(NamedTuple):
    """What became of an anchor.

    Attributes:
        error: Percent of the images that judged it.
        images: How many those were.
    """

    error: float
    images: int


def train_anchors(trainer: AnchorTrainer, anchors: Sequence[Anchor], processes: int) -> list[Measured]:
    """What became of anchors, trained now where that was not done before.

    Raises:
        RunError: if no block type has two, which would say nothing.
    """
    if len({a.kind for a in anchors}) == len(anchors):
        raise RunError(
            "No block type has two anchors; give smaller --limits as well, or leave anchors out (--anchors 0)."
        )
    trainer.folder.mkdir(parents=True, exist_ok=True)
    missing = [(a.kind, a.arch) for a in anchors if not trainer.path(a.kind, a.arch).is_file()]
    if missing:
        with progress("train anchors") as update:
            spread(trainer, missing, processes, lambda step, done, text: update(done, len(missing), text))
    found = [json.loads(trainer.path(a.kind, a.arch).read_text(encoding="utf-8")) for a in anchors]
    return [Measured(float(row["error"]), int(row["images"])) for row in found]


class Fit(NamedTuple):
    """What anchors say.

    Attributes:
        slope: Percent of error for a loss of 1, within a block type.
        slope_error: Its standard error, as far as it comes from the number of images.
        added: To the loss of a stage of each block type.
    """

    slope: float
    slope_error: float
    added: dict[int, float]


def fit(anchors: Sequence[Anchor], measured: Sequence[Measured]) -> Fit:
    """Least squares of a_k + b L.

    Raises:
        RunError: if b is less than twice its standard error, so that nothing says what a percent is worth.
    """
    kinds, loss = np.array([a.kind for a in anchors]), np.array([a.loss for a in anchors])
    error, images = np.array(measured, dtype=float).T
    means = {int(k): (loss[kinds == k].mean(), error[kinds == k].mean()) for k in np.unique(kinds)}
    x, y = (values - [means[k][i] for k in kinds] for i, values in enumerate((loss, error)))
    noise = np.sqrt(error * (100 - error) / images)
    slope, slope_error = float(x @ y / (x @ x)), float(np.sqrt((x * x) @ (noise * noise)) / (x @ x))
    if slope < 2 * slope_error or slope <= 0:
        raise RunError(
            f"Anchors: a loss of 1 is {slope:.3g} +- {slope_error:.2g} points within a block type, too uncertain; "
            "train longer (--anchors), give limits further apart, take a teacher that kept more images out "
            "(nas train --validation), or leave anchors out (--anchors 0)."
        )
    heights = {k: e - slope * mean for k, (mean, e) in means.items()}
    least = min(heights.values())
    return Fit(slope, slope_error, {k: float((h - least) / slope / len(STAGES)) for k, h in heights.items()})


def recorded(epochs: int, anchors: Sequence[Anchor], measured: Sequence[Measured], found: Fit) -> dict[str, Any]:
    """What the design's document says about them."""
    rows = [a._asdict() | {"block": BLOCKS[a.kind].name} | m._asdict() for a, m in zip(anchors, measured, strict=True)]
    added = {BLOCKS[kind].name: value for kind, value in found.added.items()}
    return {"epochs": epochs, "slope": found.slope, "slope_error": found.slope_error, "added": added, "networks": rows}
