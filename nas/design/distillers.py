"""Stages distilled one after another, or by several processes at once."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nas.console import progress
from nas.design.blocks import read_all, stage_file, write_stage
from nas.errors import RunError
from nas.processes import end_with_parent, shared_gpu
from nas.runs import Run
from nas.subnets import Subnets, image_sizes
from search_spaces import Network, Space
from search_spaces.hyperspace import Hyperspace, StageSpace
from search_spaces.spaceevo import BLOCKS, STAGES

if TYPE_CHECKING:
    from supernets.distill import DistillConfig, Distilled, MapBatch, Maps
    from supernets.teacher import Teacher


class Given(NamedTuple):
    """What a process distils with; see `Distiller`."""

    folder: Path
    run: Path
    hyper: Hyperspace
    config: "DistillConfig"


def distil_all(
    folder: Path, run: "Run", hyper: Hyperspace, config: "DistillConfig", processes: int = 1
) -> "dict[tuple[int, int], Distilled]":
    """Distils every stage (from 1) of every block type, or reads what was; a kill loses one a process at most.

    The teacher is the largest network of the run at the largest resolution of the hyperspace.

    Args:
        folder: Where they are kept.
        run: The teacher's.
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
        if processes > 1:

            def told(step: int, done: int) -> None:
                update(step, whole, f"{done} of {len(missing)} stages")

            distil_at_once(Given(folder, run.folder, hyper, config), missing, processes, told)
            return read_all(folder, hyper)
        distiller, steps = Distiller(folder, run, hyper, config), count()
        for s, k in missing:

            def show(loss: float, name: str = f"stage{s}-{BLOCKS[k].name}") -> None:
                update(next(steps) + 1, whole, f"{name}, loss {loss:.3f}")

            found[s, k] = distiller(s, k, show)
    return found


class Distiller:
    """Distils stages from one teacher, which is read once.

    Args:
        folder: Where stages are kept.
        run: The teacher's.
        hyper: Whose stages.
        config: How.
    """

    def __init__(self, folder: Path, run: Run, hyper: Hyperspace, config: "DistillConfig") -> None:
        self._folder, self._hyper, self._config = folder, hyper, config
        self._subnets = Subnets(run)
        self._teacher = run_teacher(self._subnets, hyper)

    def __call__(self, stage: int, kind: int, on_step: Callable[[float], None]) -> "Distilled":
        """A stage (from 1) of a block type; `on_step` is told the loss of every step."""
        from supernets.distill import distil

        resolution, channels = max(self._hyper.resolutions), self._teacher.channels
        space = StageSpace(self._hyper, stage, BLOCKS[kind], (channels[stage - 1], channels[stage]), resolution)
        source, close = _teacher_maps(self._subnets, self._teacher, stage, resolution, self._config)
        try:
            held_out = _held_out_maps(self._subnets, self._teacher, stage, resolution, self._config)
            found = distil(space, source, held_out, self._config, lambda step, loss: on_step(loss))
        finally:
            close()
        write_stage(stage_file(self._folder, stage, kind), found)
        return found


def run_teacher(subnets: Subnets, hyper: Hyperspace) -> "Teacher":
    """The largest network of a run, or the one that it trained alone, cut at the hyperspace's stages."""
    import jax.numpy as jnp

    from supernets.calibrate import network_moments
    from supernets.teacher import Teacher

    resolution = max(hyper.resolutions)
    network = teacher_network(subnets.run.space, subnets.run.config["train"], resolution)
    images = jnp.asarray(subnets.seen_images(resolution))
    params = {name: jnp.asarray(value) for name, value in subnets.params.items()}
    sizes = tuple(hyper.size_before(s, resolution) for s in range(1, len(STAGES) + 2))
    return Teacher(params, network, network_moments(params, network, images), sizes)


def teacher_network(space: Space, trained: dict[str, Any], resolution: int) -> Network:
    """A run's own network if it trained one alone, else the largest of its space at a resolution."""
    alone = space.network(space.parse(trained["arch"])) if trained.get("method") == "scratch" else None
    sizes = (alone.size,) if alone else image_sizes(space)
    if resolution not in sizes:
        raise RunError(f"The teacher was trained at {list(sizes)} px, the spaces' largest is {resolution} px.")
    return alone or space.network(space.largest_at(resolution))


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
) -> "list[Maps]":
    """The teacher's maps of images that its run kept out of training, in batches of one size."""
    import jax.numpy as jnp

    images = subnets.images(subnets.split.validation_images[: config.judged], resolution)
    size = min(len(images), config.batch_size)
    return [teacher(jnp.asarray(images[i : i + size]), stage) for i in range(0, len(images) - size + 1, size)]


def distil_at_once(
    given: Given, places: Sequence[tuple[int, int]], processes: int, on_progress: Callable[[int, int], None]
) -> None:
    """Distils stages of block types in several processes, which take turns at the host's GPUs.

    Args:
        given: What with.
        places: Stage (from 1) and block type of each.
        processes: How many; several share a GPU where there are fewer.
        on_progress: Called now and then with the number of steps and of stages done.
    """
    context = multiprocessing.get_context("spawn")  # JAX's threads are not there after a fork
    begun, steps = context.Value("i", 0), context.Value("i", 0)
    with ProcessPoolExecutor(min(processes, len(places)), context, _begin, (given, begun, steps)) as pool:
        waiting = {pool.submit(_distil, *place) for place in places}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                on_progress(steps.value, len(places) - len(waiting))
        except BaseException:  # Ctrl-C too: what no process has begun is left
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass
class _Own:
    """Of a process of the pool: what it was given, where it counts steps, its distiller once that is made."""

    given: Given
    steps: Any
    distiller: Distiller | None = None


_own: _Own | None = None


def _begin(given: Given, begun: Any, steps: Any) -> None:
    """Before JAX is there: the process's GPU."""
    global _own
    end_with_parent()
    with begun.get_lock():
        place = begun.value
        begun.value += 1
    os.environ.update(shared_gpu(place))
    _own = _Own(given, steps)


def _distil(stage: int, kind: int) -> None:
    own = _own
    assert own is not None
    folder, run, hyper, config = own.given
    own.distiller = own.distiller or Distiller(folder, Run.open(run), hyper, config)

    def stepped(loss: float) -> None:
        del loss
        with own.steps.get_lock():
            own.steps.value += 1

    with suppress(KeyboardInterrupt):  # the parent says so
        own.distiller(stage, kind, stepped)
