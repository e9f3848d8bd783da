"""A trained network whose maps teach the stages of a hyperspace (SpaceEvo's block-wise distillation)."""

import jax.numpy as jnp

from search_spaces import Network
from supernets.chain import outputs
from supernets.errors import TrainingError
from supernets.layers import Moments
from supernets.links import cut
from supernets.params import Array, Params


class Teacher:
    """A trained network cut where its maps have the sizes of a hyperspace's stages.

    Args:
        params: Its weights, or those of a supernet that holds it.
        network: The network.
        moments: Of its batch norms.
        sizes: Height and width of the map after each stage of the hyperspace, the size before the first one in front.

    Raises:
        TrainingError: if it has no maps of some size, or fewer blocks than there are stages there.
    """

    def __init__(self, params: Params, network: Network, moments: dict[str, Moments], sizes: tuple[int, ...]) -> None:
        self._params, self._network, self._moments = params, network, moments
        shapes = link_shapes(network)
        self._cuts = cut_points([size for _, size in shapes], sizes)
        self.channels = [shapes[i][0] for i in self._cuts]

    def __call__(self, images: Array, stage: int) -> tuple[Array, Array]:
        """What a stage, from 1, is given and what it shall make, from normalised images."""
        wanted = self._cuts[stage - 1 : stage + 1]
        found: list[Array] = []
        for i, x in enumerate(outputs(self._params, self._network, images, self._moments)):
            if i in wanted:
                found.append(x)
            if i == wanted[1]:
                break
        before, after = found
        return before.astype(jnp.float32), after.astype(jnp.float32)


def link_shapes(network: Network) -> list[tuple[int, int]]:
    """Channels and size of what each link makes; size 0 behind the blocks."""
    links = cut(network)
    shapes = [link.operators[-1].out_shape[:2] for link in links]
    return [*shapes[:-1], (shapes[-1][0], 0)]


def cut_points(have: list[int], want: tuple[int, ...]) -> list[int]:
    """Positions of links whose maps stand for those of the hyperspace's stages.

    Stages of one size share the teacher's blocks of that size as evenly as may be; before the first
    stage stands the last link of that size.

    Args:
        have: Size of the map after every link.
        want: Size before the first stage, then after each.
    """
    found = []
    for size in dict.fromkeys(want):
        links, stages = [i for i, s in enumerate(have) if s == size], want.count(size)
        if len(links) < stages:
            raise TrainingError(
                f"The teacher has {len(links)} blocks with maps of {size} px, the hyperspace has {stages} stages "
                "there; choose a teacher with the strides of the space: a run of spaceevo with the same stem_stride "
                "and strides, or where these are 222121, of ofa_mbv3."
            )
        found += [links[-(-len(links) * i // stages) - 1] for i in range(1, stages + 1)]
    return found
