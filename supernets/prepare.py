"""Compiling all programs of a space before the first step."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from search_spaces import ChoiceSpace, Network, Space
from supernets import programs
from supernets.any_kernel import Choices
from supernets.frames import fitted
from supernets.groups import Groups
from supernets.links import Link, Operators, cut
from supernets.losses import cross_entropy
from supernets.params import Array, Params
from supernets.placement import Placement
from supernets.program_files import ProgramFiles
from supernets.update import zeros_like

_MOST = 4  # resolutions; more would keep a person waiting for the first step
_SAMPLED = 128  # random networks of every resolution
AT_ONCE = 16  # each thread keeps what a link keeps: a gigabyte at batch 1024 and 32 px


def prepare(
    networks: Iterable[Network],
    params: Params,
    batch_size: int,
    on_link: Callable[[int, int], None] | None = None,
    *,
    place: Placement | None = None,
    groups: Groups | None = None,
    dtype: jnp.dtype | type = jnp.float32,
    files: ProgramFiles | None = None,
    masked: bool = False,
) -> None:
    """Compiles every link of some networks, several at once.

    Args:
        networks: The networks, of one image size or several.
        params: Weights of their supernet, where the training will have them.
        batch_size: Images a program runs on.
        on_link: Called with the number of links done, and of all.
        place: Where the training will have its batches; by default wherever JAX puts arrays.
        groups: What is normalised together; by default all images.
        dtype: Of the images.
        files: Where programs are kept, on one device.
        masked: Whether one program serves all widths.
    """
    placed = place.batch if place else lambda batch: batch
    mesh, zeros = (groups.mesh, groups.zeros) if groups else (None, zeros_like)
    call: Call = direct if place is None or place.count == 1 or mesh else OneAtATime()
    jax.block_until_ready(zeros(params))  # compiled once, before threads ask for it
    tasks = dict[Any, Callable[[], Any]]()

    def value(shape: tuple[int, ...]) -> Array:
        c, h, w = shape
        return placed(jnp.zeros((batch_size, h, w, c), dtype))

    # all as in a training: an array that JAX takes for less certain in type or place would be compiled for anew
    def compile_link(link: Link, operators: Operators, choices: Choices, shape: tuple[int, ...], first: bool) -> None:
        weights, x = link.weights(params), value(shape)
        about = {"operators": operators, "first": first, "files": files, "mesh": mesh}
        y, made = call(programs.forward, weights, x, choices, **about)
        total = link.weights(zeros(params))
        call(programs.backward, total, weights, x, choices, made, y, **about)

    def compile_head(link: Link, operators: Operators, shape: tuple[int, ...], classes: int) -> None:
        total, weights = (link.weights(tree) for tree in (zeros(params), params))
        target = placed(jnp.full((batch_size, classes), 1 / classes, jnp.float32))
        dropout = placed(jnp.ones((batch_size, operators[-1].in_channels)))  # type: ignore[attr-defined]
        arguments = total, weights, value(shape), target, dropout, operators, cross_entropy, mesh
        call(programs.head, *arguments)

    for network in networks:
        *links, head = cut(network)
        shape = network.shapes[0]
        for i, link in enumerate(links):
            weights = link.weights(params)
            operators, choices = fitted(link, weights, masked=masked)
            sizes = tuple((name, array.shape) for name, array in weights.items())
            task = partial(compile_link, link, operators, choices, shape, i == 0)
            tasks.setdefault((operators, shape, sizes, i == 0), task)
            shape = operators[-1].out_shape
        operators, _ = fitted(head, head.weights(params), masked=masked, last=True)
        tasks.setdefault((operators, shape), partial(compile_head, head, operators, shape, network.num_classes))
    at_once(list(tasks.values()), on_link)


class Call(Protocol):
    """Runs a jitted function, compiled first where it was not."""

    def __call__(self, function: Any, *arguments: Any, **more: Any) -> Any:
        """Its result, finished."""


def direct(function: Any, *arguments: Any, **more: Any) -> Any:
    """See `Call`."""
    return jax.block_until_ready(function(*arguments, **more))


class OneAtATime:
    """See `Call`: compiled in all threads, run in one.

    Programs over several devices exchange sums. Begun from several threads, the devices might begin them in different
    orders, and each wait for what the other has not begun.
    """

    def __init__(self) -> None:
        self._lock = Lock()

    def __call__(self, function: Any, *arguments: Any, **more: Any) -> Any:
        """Its result, finished."""
        function.lower(*arguments, **more).compile()  # what JAX then finds when it runs it
        with self._lock:
            return jax.block_until_ready(function(*arguments, **more))


def at_once(
    tasks: Sequence[Callable[[], Any]], on_done: Callable[[int, int], None] | None, threads: int = AT_ONCE
) -> None:
    """Runs what compiles programs in threads: compiling leaves the interpreter free."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, threads)) as pool:
        for done, _ in enumerate(pool.map(lambda task: task(), tasks), 1):
            if on_done:
                on_done(done, len(tasks))


def few_programs(space: Space) -> bool:
    """Whether a space has so few programs that all may be compiled before the first step."""
    return (space.free_widths or space.few_blocks) and _sizes(space) <= _MOST


def _sizes(space: Space) -> int:
    return int(space.cardinality[space.index["resolution"]]) if "resolution" in space.index else 1


def uniform_networks(space: Space) -> list[Network]:
    """The networks with one choice throughout, as deep as can be, largest first: every network's links are theirs.

    Where widths are genes, a block's program also depends on those before and behind it: random networks follow.
    """
    if isinstance(space, ChoiceSpace):
        most = int(space.cardinality.max())
        return [space.network(np.minimum(j, space.cardinality - 1)) for j in reversed(range(most))]
    rows = []
    choices = max(space.cardinality[space.index[name]] for name in space.index if name.endswith((".kernel", ".expand")))
    sizes = space.index.get("resolution")
    for resolution in range(_sizes(space)):
        for kernel, expand in reversed(list(np.ndindex(choices, choices))):
            x = space.cardinality - 1
            for name, column in space.index.items():
                if name.endswith((".kernel", ".expand")):
                    x[column] = min(kernel if name.endswith(".kernel") else expand, x[column])
            if sizes is not None:
                x[sizes] = resolution
            rows.append(x)
    found = [space.network(x) for x in np.unique(np.array(rows), axis=0)[::-1]]
    if any(name.endswith(".width") for name in space.index):
        found += map(space.network, space.sample(np.random.default_rng(0), _SAMPLED * _sizes(space)))
    return found
