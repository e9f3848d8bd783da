"""All stages of all block types distilled from a run's network, each kept in a file of its own."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.console import progress
from nas.errors import RunError
from nas.files import write_bytes
from nas.subnets import Subnets
from search_spaces import Network, Space
from search_spaces.hyperspace import Hyperspace, StageSpace
from search_spaces.spaceevo import BLOCKS, STAGES

if TYPE_CHECKING:
    from nas.runs import Run
    from supernets.distill import DistillConfig, Distilled, MapBatch, Teacher


def distil_all(
    folder: Path, run: "Run", hyper: Hyperspace, config: "DistillConfig"
) -> "dict[tuple[int, int], Distilled]":
    """Distils every stage (from 1) of every block type, or reads what was; a kill loses one of them at most.

    The teacher is the largest network of the run at the largest resolution of the hyperspace.
    """
    from supernets.distill import distil

    folder.mkdir(parents=True, exist_ok=True)
    resolution, found = max(hyper.resolutions), read_all(folder, hyper)
    missing = [(s, k) for k in hyper.types for s in range(1, len(STAGES) + 1) if (s, k) not in found]
    if not missing:
        return found
    subnets = Subnets(run)
    teacher = run_teacher(subnets, hyper)
    per_place = config.steps + config.int8_steps
    with progress("distil") as update:
        for done, (s, k) in enumerate(missing):
            channels = teacher.channels[s - 1], teacher.channels[s]
            space = StageSpace(hyper, s, BLOCKS[k], channels, resolution)
            source, close = _maps(subnets, teacher, s, resolution, config)

            def show(step: int, loss: float, done: int = done, name: str = space.name) -> None:
                update(done * per_place + step, len(missing) * per_place, f"{name}, loss {loss:.3f}")

            try:
                found[s, k] = distil(space, source, config, show)
            finally:
                close()
            _write(_path(folder, s, k), found[s, k])
    return found


def read_all(folder: Path, hyper: Hyperspace) -> "dict[tuple[int, int], Distilled]":
    """What was distilled so far, by stage (from 1) and block type."""
    places = [(s, k) for k in hyper.types for s in range(1, len(STAGES) + 1)]
    return {place: read for place in places if (read := _read(_path(folder, *place)))}


def run_teacher(subnets: Subnets, hyper: Hyperspace) -> "Teacher":
    """The largest network of a run, or the one that it trained alone, cut at the hyperspace's stages."""
    import jax.numpy as jnp

    from supernets.calibrate import network_moments
    from supernets.distill import Teacher

    resolution = max(hyper.resolutions)
    network = teacher_network(subnets.run.space, subnets.run.config["train"], resolution)
    images = jnp.asarray(subnets.seen_images(resolution))
    params = {name: jnp.asarray(value) for name, value in subnets.params.items()}
    sizes = tuple(hyper.size_before(s, resolution) for s in range(1, len(STAGES) + 2))
    return Teacher(params, network, network_moments(params, network, images), sizes)


def teacher_network(space: Space, trained: dict[str, Any], resolution: int) -> Network:
    """A run's own network if it trained one alone, else the largest of its space at a resolution."""
    if trained.get("method") == "scratch":
        network = space.network(space.parse(trained["arch"]))
        sizes: tuple[int, ...] = (network.size,)
    else:
        x = space.cardinality - 1
        sizes = space.genes[space.index["resolution"]].choices if "resolution" in space.index else ()
        if resolution in sizes:
            x[space.index["resolution"]] = sizes.index(resolution)
        network = space.network(x)
        sizes = sizes or (network.size,)
    if resolution not in sizes:
        raise RunError(f"The teacher was trained at {list(sizes)} px, the spaces' largest is {resolution} px.")
    return network


def _maps(
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


def _path(folder: Path, stage: int, kind: int) -> Path:
    return folder / f"stage{stage}-{BLOCKS[kind].name}.npz"


def _write(path: Path, found: "Distilled") -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, **found._asdict())
    write_bytes(path, stream.getvalue())


def _read(path: Path) -> "Distilled | None":
    from supernets.distill import Distilled

    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Distilled(*(arrays[name] for name in Distilled._fields))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise RunError(f"{path} is damaged ({error}); remove it, and the stage is distilled again.") from error
