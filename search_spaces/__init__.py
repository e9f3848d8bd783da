"""What can be built: search spaces, genotypes and networks with exact costs. numpy only."""

import inspect
from collections.abc import Callable, Mapping

from search_spaces.additive import AdditiveCost, covering
from search_spaces.builder import NetworkBuilder, make_divisible
from search_spaces.choice import ChoiceSpace, ChoiceSpec
from search_spaces.errors import ArchitectureError, SpaceError
from search_spaces.fbnet import fbnet
from search_spaces.gene import Architecture, Gene
from search_spaces.mbconv import MBConvSpace, MBConvSpec, Stage
from search_spaces.mnasnet import mnasnet
from search_spaces.nasbench201 import nasbench201
from search_spaces.nasbench_macro import nasbench_macro
from search_spaces.network import Network
from search_spaces.ofa_mbv3 import ofa_mbv3
from search_spaces.ofa_proxyless import ofa_proxyless
from search_spaces.ofa_resnet50 import ofa_resnet50
from search_spaces.operators import Conv, GlobalPool, Linear, Operator, Pool, Scale, Shuffle, Sum, Zero
from search_spaces.proxyless import proxyless
from search_spaces.reference import REFERENCE_NETWORKS, reference_network
from search_spaces.space import Space
from search_spaces.space_file import designed_file, read_space_file
from search_spaces.spaceevo import spaceevo
from search_spaces.user_code import is_user_function, load_function

SPACES: dict[str, Callable[..., Space]] = {
    f.__name__: f
    for f in (
        ofa_mbv3,
        ofa_proxyless,
        ofa_resnet50,
        proxyless,
        fbnet,
        mnasnet,
        nasbench201,
        nasbench_macro,
        spaceevo,
    )
}


def get_space(name: str, **options: object) -> Space:
    """The search space of that name; the keyword options are those of its function in `SPACES`.

    Args:
        name: A key of `SPACES`, a folder that `nas design-space` wrote, or "file.py:function" for a function of the
            user's own that returns a `Space`; the file is run.
        **options: Of the space's function; those of a designed space are in its folder, and may be replaced.

    Raises:
        SpaceError: if the name or an option is unknown, an option is out of range, or a folder's file is damaged.
    """
    if path := designed_file(name):
        name, kept = read_space_file(path)
        return get_space(name, **(kept | options))
    known = space_parameters(name)
    if unknown := sorted(set(options) - set(known)):
        raise SpaceError(f"{name} has no option {unknown[0]!r}; it has: {', '.join(known) or 'none'}.")
    return _own_space(name, options) if is_user_function(name) else SPACES[name](**options)


def space_parameters(name: str) -> Mapping[str, inspect.Parameter]:
    """The options that `get_space(name)` takes, with their defaults; of a designed space those of its built-in one.

    Raises:
        SpaceError: if the name is unknown.
    """
    if path := designed_file(name):
        name, _ = read_space_file(path)
    if is_user_function(name):
        return inspect.signature(load_function(name).function).parameters
    if name not in SPACES:
        raise SpaceError(
            f"Search space {name!r} is unknown; choose one of: {', '.join(SPACES)}, or file.py:function of your own."
        )
    return inspect.signature(SPACES[name]).parameters


def _own_space(name: str, options: Mapping[str, object]) -> Space:
    """Calls a user's function; what it returns is named and given options so that it can be made again."""
    own = load_function(name)
    bound = inspect.signature(own.function).bind(**options)
    bound.apply_defaults()
    try:
        space = own.function(**options)
    except SpaceError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise SpaceError(f"{name!r} fails with {type(error).__name__}: {error}") from error
    if not isinstance(space, Space):
        raise SpaceError(f"{name!r} returns a {type(space).__name__}; it must return a search_spaces.Space.")
    if own.name in SPACES:
        raise SpaceError(f"{name!r} has the name of a built-in space; rename the function.")
    space.name, space.source = own.name, own.text
    space.options = {key: list(value) if isinstance(value, tuple) else value for key, value in bound.arguments.items()}
    return space


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
    "designed_file",
    "get_space",
    "make_divisible",
    "reference_network",
    "space_parameters",
]
