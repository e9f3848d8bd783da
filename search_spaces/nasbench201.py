"""The NAS-Bench-201 space (Dong & Yang, ICLR 2020): one cell of four nodes, repeated in a fixed skeleton."""

import re
from collections.abc import Sequence

import numpy as np

from search_spaces.builder import NetworkBuilder
from search_spaces.errors import ArchitectureError, SpaceError
from search_spaces.gene import Architecture, Gene
from search_spaces.network import Network
from search_spaces.operators import Activation, Conv, GlobalPool, Pool, Sum
from search_spaces.space import Space

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (node, the earlier node that it reads)
STAGES = (16, 32, 64)  # channels
CELLS = 5  # of every stage
_PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))  # genes along every path through a cell
# of the 4 x 4 x 4 numbers of 1 x 1s, 3 x 3s and poolings, those that fit into a path of three edges
_POSSIBLE = np.array([a + b + c <= 3 for a in range(4) for b in range(4) for c in range(4)])
_KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
_EXAMPLE = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


class _Node:
    """A node of a cell: its map, and the map after ReLU, made when first asked for."""

    def __init__(self, b: NetworkBuilder, name: str, raw: int | None, relu: int | None) -> None:
        self._b, self._name, self._raw, self._relu = b, name, raw, relu

    @property
    def raw(self) -> int:
        assert self._raw is not None, self._name
        return self._raw

    @property
    def relu(self) -> int:
        if self._relu is None:
            self._relu = self._b.sum(f"{self._name}.relu", self.raw, activation="relu")
        return self._relu


class NASBench201Space(Space):
    """Six edges with one of five operations each; see `nasbench201`.

    The published networks are pre-activation: an edge's convolution is ReLU, convolution, batch
    norm. Here one ReLU serves all convolutions that read a node, fused into the operator that
    makes the node where nothing else reads it, and additions are fused into convolutions. Edges that
    the result does not depend on are there, as in the benchmark: they have parameters.
    """

    def __init__(self, num_classes: int, image_size: int) -> None:
        if num_classes < 1:
            raise SpaceError(f"num_classes (={num_classes}) must be at least 1.")
        if image_size < 8 or image_size % 4:
            raise SpaceError(f"image_size (={image_size}) must be a multiple of 4, at least 8.")
        self.name = "nasbench201"
        self.num_classes, self.image_size = num_classes, image_size
        self.options: dict[str, object] = {"num_classes": num_classes, "image_size": image_size}
        self.blockwise = False  # which edges are read at all, and which additions fuse, is decided by all genes
        self.genes = tuple(Gene(f"node{j}.from{i}", OPERATIONS) for j, i in EDGES)

    @property
    def largest(self) -> np.ndarray:
        """Genotype of the cell with a 3 x 3 convolution on every edge."""
        return np.full(len(EDGES), OPERATIONS.index("nor_conv_3x3"))

    def network(self, arch: Sequence[int] | np.ndarray) -> Network:
        """The network of a genotype."""
        ops = {edge: OPERATIONS[v] for edge, v in zip(EDGES, self.check(arch), strict=True)}
        b = NetworkBuilder(self.name, in_channels=3, size=self.image_size)
        plain = _reads_raw(ops, 0)  # whether a cell reads its input before ReLU
        node = _node(b, "stem", [], [(b.image, 3, "stem")], STAGES[0], relu_only=not plain)
        for s, channels in enumerate(STAGES, 1):
            if s > 1:
                node = _reduce(b, f"reduce{s - 1}", node, channels, relu_only=not plain)
            for c in range(1, CELLS + 1):
                node = _cell(b, f"stage{s}.cell{c}", node, ops, relu_only=not plain and c < CELLS)
        x = b.global_pool("pool", b.sum("head", node.raw, activation="relu", norm=True))
        b.linear("classifier", x, self.num_classes)
        return b.build()

    def live(self, X: np.ndarray) -> np.ndarray:
        """Genotypes `[n, 6]` with "none" on every edge that does not lie on a path through the cell."""
        X = np.atleast_2d(X)
        on = {edge: X[:, g] > 0 for g, edge in enumerate(EDGES)}
        reached = {0: np.ones(len(X), dtype=bool)}
        for j in (1, 2, 3):
            reached[j] = np.any([on[j, i] & reached[i] for i in range(j)], axis=0)
        leads = {3: np.ones(len(X), dtype=bool)}
        for i in (2, 1, 0):
            leads[i] = np.any([on[j, i] & leads[j] for j in range(i + 1, 4)], axis=0)
        return np.stack([np.where(reached[i] & leads[j], X[:, g], 0) for g, (j, i) in enumerate(EDGES)], axis=1)

    def reads_image(self, X: np.ndarray) -> np.ndarray:
        """Whether a path leads through the cell, bool `[n]`; 341 cells have none."""
        reads: np.ndarray = np.max(self.live(X), axis=1) > 0
        return reads

    def encoding(self, X: np.ndarray) -> np.ndarray:
        """One-hot live edges, then the paths: how many have so many 1 x 1s, 3 x 3s and poolings each."""
        live = self.live(X)
        counts = np.zeros((len(live), 4, 4, 4), dtype=np.float32)
        for path in _PATHS:
            ops = live[:, path]
            rows = np.flatnonzero((ops > 0).all(axis=1))
            np.add.at(counts, (rows, *((ops[rows] == op).sum(axis=1) for op in (2, 3, 4))), 1)
        return np.hstack(
            [
                np.eye(len(OPERATIONS), dtype=np.float32)[live].reshape(len(live), -1),
                counts.reshape(len(live), -1)[:, _POSSIBLE],
            ]
        )

    def to_text(self, arch: Sequence[int] | np.ndarray) -> str:
        """The benchmark's own string, e.g. `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`."""
        values = zip(EDGES, self.check(arch), strict=True)
        groups: dict[int, str] = {}
        for (j, i), v in values:
            groups[j] = groups.get(j, "|") + f"{OPERATIONS[v]}~{i}|"
        return "+".join(groups.values())

    def parse(self, text: str) -> Architecture:
        """Genotype of what `to_text` wrote.

        Raises:
            ArchitectureError: naming the part that is malformed.
        """
        edges = re.findall(r"([^|+~]+)~([^|+~]+)", text)
        names = tuple(name for name, _ in edges)
        if unknown := [name for name in names if name not in OPERATIONS]:
            raise ArchitectureError(f"Architecture {text[:120]!r}: {unknown[0]!r} must be one of {OPERATIONS}.")
        if len(names) != len(EDGES) or self.to_text([OPERATIONS.index(n) for n in names]) != text.strip():
            raise ArchitectureError(f"Architecture {text[:120]!r} must have six edges, like {_EXAMPLE!r}.")
        return tuple(OPERATIONS.index(name) for name in names)


def _reads_raw(ops: dict[tuple[int, int], str], node: int) -> bool:
    """Whether anything but convolutions reads a node."""
    readers = {op for (_, i), op in ops.items() if i == node} - {"none"}
    return not readers or not readers <= set(_KERNELS)


def _node(
    b: NetworkBuilder,
    name: str,
    plain: list[int],
    convs: list[tuple[int, int, str]],
    channels: int,
    *,
    relu_only: bool,
) -> _Node:
    """Adds up maps and convolutions (input, kernel, name): one fused operator each."""
    last: Activation = "relu" if relu_only else "none"
    total = plain[0] if plain else None
    if len(plain) > 1 or (plain and relu_only and not convs):
        total = b.sum(name, *plain, activation="none" if convs else last)
    for x, kernel, path in convs:
        activation: Activation = last if path == convs[-1][2] else "none"
        total = b.conv(path, x, channels, kernel=kernel, residual=total, activation=activation)
    return _Node(b, name, None, total) if relu_only else _Node(b, name, total, None)


def _cell(b: NetworkBuilder, name: str, node: _Node, ops: dict[tuple[int, int], str], *, relu_only: bool) -> _Node:
    nodes = [node]
    shape = node._relu if node._raw is None else node._raw
    assert shape is not None
    channels = b.shape(shape)[0]
    for j in (1, 2, 3):
        path = f"{name}.node{j}"
        incoming = [(i, op) for (to, i), op in ops.items() if to == j and op != "none"]
        if not incoming:
            zero = b.zero(path, shape)
            nodes.append(_Node(b, path, zero, zero))
            continue
        if len(incoming) == 1 and incoming[0][1] == "skip_connect":
            nodes.append(nodes[incoming[0][0]])
            continue
        plain = [nodes[i].raw for i, op in incoming if op == "skip_connect"]
        plain += [
            b.pool(f"{path}.from{i}", nodes[i].raw, kernel=3, stride=1, reduce="mean")
            for i, op in incoming
            if op == "avg_pool_3x3"
        ]
        convs = [(nodes[i].relu, _KERNELS[op], f"{path}.from{i}") for i, op in incoming if op in _KERNELS]
        only = relu_only if j == 3 else not _reads_raw(ops, j)
        nodes.append(_node(b, path, plain, convs, channels, relu_only=only))
    return nodes[3]


def _reduce(b: NetworkBuilder, name: str, node: _Node, channels: int, *, relu_only: bool) -> _Node:
    """The residual block between stages: halves the map, doubles the channels."""
    y = b.conv(f"{name}.a", node.relu, channels, kernel=3, stride=2, activation="relu")
    skip = b.pool(f"{name}.pool", node.raw, kernel=2, stride=2, reduce="mean")
    skip = b.conv(f"{name}.skip", skip, channels, norm=False)
    return _node(b, name, [skip], [(y, 3, f"{name}.b")], channels, relu_only=relu_only)


def nasbench201(*, num_classes: int = 10, image_size: int = 32) -> NASBench201Space:
    """15,625 cells of four nodes, five operations an edge; all trained and published as NAS-Bench-201.

    Args:
        num_classes: Outputs; published with 10, 100 and 120.
        image_size: Height and width in pixels; published with 32 and 16.
    """
    return NASBench201Space(num_classes, image_size)


def benchmark_flops(network: Network) -> int:
    """What NAS-Bench-Suite-Zero lists as FLOPs of a NAS-Bench-201 network.

    That is the multiply-accumulates and besides them, per element, 2 for a batch norm, 1 for a ReLU
    (one a convolution, shared or not), k * k for an average, and (size + 1)^2 for the global
    one. Reproduces the published column exactly.
    """
    total = network.macs
    for op in network:
        elements = op.out_shape[0] * op.out_shape[1] * op.out_shape[2]
        if isinstance(op, Conv):
            relu = 0 if op.name == "stem" or not op.norm else op.in_channels * op.size**2
            total += 2 * elements * op.norm + relu
        elif isinstance(op, Pool):
            total += op.kernel**2 * elements
        elif isinstance(op, GlobalPool):
            total += elements * (op.size + 1) ** 2
        elif isinstance(op, Sum) and op.norm:
            total += 3 * elements
    return total
