"""What can be built: search spaces, genotypes and networks with exact costs. numpy only."""

import inspect
from collections.abc import Callable

from search_spaces.additive import AdditiveCost, covering
from search_spaces.builder import NetworkBuilder, make_divisible
from search_spaces.choice import ChoiceSpace, ChoiceSpec
from search_spaces.errors import ArchitectureError, SpaceError
from search_spaces.fbnet import fbnet
from search_spaces.mbconv import MBConvSpace, MBConvSpec, Stage
from search_spaces.mnasnet import mnasnet
from search_spaces.nasbench201 import nasbench201
from search_spaces.nasbench_macro import nasbench_macro
from search_spaces.network import Network
from search_spaces.ofa_mbv3 import ofa_mbv3
from search_spaces.ofa_resnet50 import ofa_resnet50
from search_spaces.operators import Conv, GlobalPool, Linear, Operator, Pool, Scale, Shuffle, Sum, Zero
from search_spaces.proxyless import proxyless
from search_spaces.reference import REFERENCE_NETWORKS, reference_network
from search_spaces.space import Architecture, Gene, Space

SPACES: dict[str, Callable[..., Space]] = {
    f.__name__: f for f in (ofa_mbv3, ofa_resnet50, proxyless, fbnet, mnasnet, nasbench201, nasbench_macro)
}


def get_space(name: str, **options: object) -> Space:
    """The search space of that name; the keyword options are those of its function in `SPACES`.

    Raises:
        SpaceError: if the name or an option is unknown, or an option is out of range.
    """
    if name not in SPACES:
        raise SpaceError(f"Search space {name!r} is unknown; choose one of: {', '.join(SPACES)}.")
    known = inspect.signature(SPACES[name]).parameters
    if unknown := sorted(set(options) - set(known)):
        raise SpaceError(f"{name} has no option {unknown[0]!r}; it has: {', '.join(known)}.")
    return SPACES[name](**options)


__all__ = [
    "REFERENCE_NETWORKS",
    "SPACES",
    "AdditiveCost",
    "Architecture",
    "ArchitectureError",
    "ChoiceSpace",
    "ChoiceSpec",
    "Conv",
    "Gene",
    "GlobalPool",
    "Linear",
    "MBConvSpace",
    "MBConvSpec",
    "Network",
    "NetworkBuilder",
    "Operator",
    "Pool",
    "Scale",
    "Shuffle",
    "Space",
    "SpaceError",
    "Stage",
    "Sum",
    "Zero",
    "covering",
    "get_space",
    "make_divisible",
    "reference_network",
]
