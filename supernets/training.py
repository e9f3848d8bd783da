"""Training a supernet, or one network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from search_spaces import Network, Space
from supernets.batches import Images, batches
from supernets.config import TrainConfig
from supernets.groups import Groups
from supernets.inputs import Recipe
from supernets.loop import Setting, Training
from supernets.params import Params
from supernets.placement import Placement
from supernets.program_files import ProgramFiles
from supernets.reports import OnStep


def train(
    space: Space,
    images: Images,
    labels: np.ndarray,
    *,
    mean: np.ndarray,
    std: np.ndarray,
    config: TrainConfig,
    folder: Path,
    resume: bool = True,
    on_step: OnStep | None = None,
    on_compiled: Callable[[int, int], None] | None = None,
    start: Params | None = None,
    teacher: tuple[Params, Network] | None = None,
    devices: int | None = None,
    workers: int = 0,
) -> Params:
    """Trains the supernet of a space and leaves checkpoints, `metrics.csv` and TensorBoard's events in a folder.

    Every random choice is made from the seed and the step, so that a training that was killed
    ends, when called again, with bit for bit the same weights (on a CPU). When the loss stops being
    a number, or falls back to that of guessing, the training goes back to the last epoch's end,
    or to where it was resumed, at half the rate (`supernets.guard`). Over several hosts, all of
    them call this alike, and the first one writes.

    Args:
        space: The space.
        images: Training images uint8 `[n, h, w, c]`, or pictures to decode as they are needed.
        labels: Their classes `[n]`.
        mean: Of every channel, for pixels in 0..1.
        std: Likewise.
        config: How to train.
        folder: For checkpoints.
        resume: Continue from the newest checkpoint there.
        on_step: Called after every step, at the latest when the next one was started.
        on_compiled: Called with how many of how many links have compiled their programs, before
            the first step; spaces of many resolutions compile as they go instead.
        start: Weights to start from instead of fresh ones, e.g. of a supernet.
        teacher: Weights and network that teach beside the labels.
        devices: How many to divide batches over; one by default, over several hosts all.
        workers: Processes that decode pictures; 0 for threads of this one.

    Returns:
        The trained weights; their average where `config.ema` asks for one.

    Raises:
        TrainingError: if the loss stops being a number again and again, or there are fewer images than a batch.
        CheckpointError: if a checkpoint there is damaged or of another space.
    """
    place = Placement(config.batch_size, devices)
    groups = Groups(config.norm_groups, config.batch_size, place)
    source = batches(images, labels, batch_size=config.batch_size, seed=config.seed, place=place, workers=workers)
    recipe = Recipe.of(config, mean, std, crops=not isinstance(images, np.ndarray))
    files = ProgramFiles.beside_compiled() if place.count == 1 else None
    setting = Setting(space, source, recipe, config, place, groups, files)
    try:
        return Training(setting, folder, start, teacher).run(resume, on_step, on_compiled)
    finally:
        source.close()
