"""The network that teaches the stages of a hyperspace: what is trained where none is given, and whether one will do."""

from typing import TYPE_CHECKING, Any

from nas.errors import RunError
from nas.runs import Run
from nas.subnets import Subnets, image_sizes
from nas.train_run import space_for
from search_spaces import Network, Space
from search_spaces.hyperspace import Hyperspace
from search_spaces.spaceevo import STAGES, STRIDES
from search_spaces.spaceevo_blocks import KINDS

if TYPE_CHECKING:
    from supernets.data import Dataset
    from supernets.teacher import Teacher


def teachers_space(images: "Dataset", options: dict[str, object]) -> "Space":
    """ofa_mbv3 as wide as the hyperspace; with other strides than the published ones, its widest space of MBv3."""
    given = {k: v for k, v in options.items() if k in ("width", "resolutions", "stem_stride", "strides")}
    if str(given.get("strides", STRIDES)) == STRIDES:
        return space_for("ofa_mbv3", images, {k: v for k, v in given.items() if k != "strides"})
    widest = "".join(str(stage.windows - 1) for stage in STAGES)
    return space_for("spaceevo", images, given | {"blocks": str(KINDS["mbv3"]) * len(STAGES), "windows": widest})


def run_teacher(subnets: Subnets, hyper: Hyperspace) -> "Teacher":
    """The largest network of a run, or the one that it trained alone, cut at the hyperspace's stages."""
    import jax.numpy as jnp

    from supernets.calibrate import network_moments
    from supernets.teacher import Teacher

    resolution = max(hyper.resolutions)
    network = teacher_network(subnets.run.space, subnets.run.config["train"], resolution)
    images = jnp.asarray(subnets.seen_images(resolution))
    params = {name: jnp.asarray(value) for name, value in subnets.params.items()}
    return Teacher(params, network, network_moments(params, network, images), _sizes(hyper))


def check_teacher(run: Run, hyper: Hyperspace) -> None:
    """Refuses a run whose teacher has no maps of the sizes of a hyperspace's.

    Raises:
        RunError: if it was trained at other resolutions.
        TrainingError: if it has other strides.
    """
    from supernets.teacher import cut_points, link_shapes

    network = teacher_network(run.space, run.config["train"], max(hyper.resolutions))
    cut_points([size for _, size in link_shapes(network)], _sizes(hyper))


def _sizes(hyper: Hyperspace) -> tuple[int, ...]:
    """Of the map before the first stage, then after each."""
    return tuple(hyper.size_before(s, max(hyper.resolutions)) for s in range(1, len(STAGES) + 2))


def teacher_network(space: Space, trained: dict[str, Any], resolution: int) -> Network:
    """A run's own network if it trained one alone, else the largest of its space at a resolution."""
    alone = space.network(space.parse(trained["arch"])) if trained.get("method") == "scratch" else None
    sizes = (alone.size,) if alone else image_sizes(space)
    if resolution not in sizes:
        raise RunError(f"The teacher was trained at {list(sizes)} px, the spaces' largest is {resolution} px.")
    return alone or space.network(space.largest_at(resolution))
