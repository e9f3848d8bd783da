"""Stages distilled one after another, or by several processes at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.console import progress
from nas.design.blocks import read_all, stage_file, write_stage
from nas.design.teaching import run_teacher
from nas.design.workers import OnStep, spread
from nas.runs import Run
from nas.subnets import Subnets
from search_spaces.hyperspace import Hyperspace, StageSpace
from search_spaces.spaceevo import STAGES
from search_spaces.spaceevo_blocks import BLOCKS

if TYPE_CHECKING:
    from supernets.distill import DistillConfig, Distilled, MapBatch, Maps
    from supernets.teacher import Teacher


def distil_all(
    folder: Path, run: Path, hyper: Hyperspace, config: "DistillConfig", processes: int = 1
) -> "dict[tuple[int, int], Distilled]":
    """Distils every stage (from 1) of every block type, or reads what was; a kill loses one a process at most.

    The teacher is the largest network of the run at the largest resolution of the hyperspace.

    Args:
        folder: Where they are kept.
        run: The teacher's folder.
        hyper: Whose stages.
        config: How.
        processes: How many of them at once; what is found does not depend on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = read_all(folder, hyper)
    missing = [(s, k) for k in hyper.types for s in range(1, len(STAGES) + 1) if (s, k) not in found]
    if not missing:
        return found
    whole = len(missing) * (config.steps + config.int8_steps)
    with progress("distil") as update:

        def told(step: int, done: int, text: str) -> None:
            del done
            update(step, whole, text)

        spread(Distiller(folder, run, hyper, config), missing, processes, told)
    return read_all(folder, hyper)


@dataclass(frozen=True)
class Distiller:
    """Distils stages from one teacher, which is read once.

    Attributes:
        folder: Where stages are kept.
        run: The teacher's folder.
        hyper: Whose stages.
        config: How.
    """

    folder: Path
    run: Path
    hyper: Hyperspace
    config: "DistillConfig"

    @cached_property
    def _subnets(self) -> Subnets:
        return Subnets(Run.open(self.run))

    @cached_property
    def _teacher(self) -> "Teacher":
        return run_teacher(self._subnets, self.hyper)

    def __call__(self, place: tuple[int, int], on_step: OnStep) -> None:
        """Distils a stage (from 1) of a block type and keeps it; `on_step` is told the loss of every step."""
        from supernets.distill import distil

        stage, kind = place
        resolution, channels = max(self.hyper.resolutions), self._teacher.channels
        space = StageSpace(self.hyper, stage, BLOCKS[kind], (channels[stage - 1], channels[stage]), resolution)
        held_out = _held_out_maps(self._subnets, self._teacher, stage, resolution, self.config)
        source, close = _teacher_maps(self._subnets, self._teacher, stage, resolution, self.config)
        try:
            found = distil(
                space, source, held_out, self.config, lambda step, loss: on_step(f"{space.name}, loss {loss:.3f}")
            )
        finally:
            close()
        write_stage(stage_file(self.folder, stage, kind), found)


def _teacher_maps(
    subnets: Subnets, teacher: "Teacher", stage: int, resolution: int, config: "DistillConfig"
) -> "tuple[MapBatch, Any]":
    """The teacher's maps by step, of augmented training images; and what ends the reading."""
    from supernets.batches import batches
    from supernets.config import TrainConfig
    from supernets.inputs import Recipe, make_batch
    from supernets.placement import Placement

    split = subnets.split
    images, labels = split.train_images, split.train_labels
    place = Placement(config.batch_size, 1)
    source = batches(images, labels, batch_size=config.batch_size, seed=config.seed, place=place)
    plain = TrainConfig(seed=config.seed, batch_size=config.batch_size)
    recipe = Recipe.of(plain, subnets.data.mean, subnets.data.std, crops=not isinstance(images, np.ndarray))

    def batch(step: int) -> Any:
        read, own = source(step)
        made = make_batch(
            read, own, np.uint32(step), recipe=recipe, size=resolution, classes=subnets.data.num_classes, features=1
        )
        return teacher(made.images, stage)

    return batch, source.close


def _held_out_maps(
    subnets: Subnets, teacher: "Teacher", stage: int, resolution: int, config: "DistillConfig"
) -> "Iterator[Maps]":
    """The teacher's maps of images that its run kept out of training, in batches of one size, made when asked for."""
    import jax.numpy as jnp

    images = subnets.images(subnets.split.validation_images[: config.judged], resolution)
    size = min(len(images), config.batch_size)
    for i in range(0, len(images) - size + 1, size):
        yield teacher(jnp.asarray(images[i : i + size]), stage)
