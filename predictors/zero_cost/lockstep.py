"""Plan of several networks in lockstep: which operators run as one call, and where every map lies.

Equal operators of many networks run as one call over lanes. Their maps lie in pools, one a shape,
and a call reads and writes slots of them, given as an array of indices: a call has few arguments
however many lanes it has, and all calls of an operator share a program.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from predictors.zero_cost.levels import Step, groups, has_weights
from search_spaces import Conv, GlobalPool, Operator
from search_spaces.operators import Shape

NOWHERE = 2**30  # no slot: reads zeros, writes nothing


@dataclass(frozen=True)
class Call:
    """Lanes that run together; a row of indices has one entry a lane.

    Attributes:
        op: What runs.
        named: One of the operators, for the weights that all lanes share.
        forward: `[2 k + 6, lanes]` with k inputs: slots of the inputs and of the result; the same where maps are
            forgotten after their last reader; slot of the product; row of the table of results; network; how often
            the binary code counts.
        backward: `[3 k + 3, lanes]`: slots of the inputs, of the product, row of the table, slot of the result's
            cotangent; slots of the inputs' cotangents; whether those are written for the first time. None where
            no lane's result matters.
    """

    op: Operator
    named: Operator
    forward: np.ndarray
    backward: np.ndarray | None


@dataclass
class Slots:
    """Slots of pools, by shape.

    Attributes:
        size: Slots that were ever in use at a time.
    """

    size: Counter[Shape] = field(default_factory=Counter)
    _free: dict[Shape, list[int]] = field(default_factory=lambda: defaultdict(list))

    def take(self, shape: Shape) -> int:
        """A free slot."""
        if self._free[shape]:
            return self._free[shape].pop()
        self.size[shape] += 1
        return self.size[shape] - 1

    def give(self, shape: Shape, slot: int) -> None:
        """Frees a slot."""
        self._free[shape].append(slot)


class Row(NamedTuple):
    """Whose results a row of the tables holds.

    Attributes:
        network: Which.
        name: Of the operator.
        kernel: Whether it has one.
        norm: Whether it has a batch norm.
        reached: Whether the way back comes by.
    """

    network: int
    name: str
    kernel: bool
    norm: bool
    reached: bool


@dataclass(frozen=True)
class Plan:
    """Passes of several networks.

    Attributes:
        image: Shape of the images.
        calls: In order; the way back is the reverse.
        kept: Slots of maps that stay.
        passing: Slots of maps that are forgotten after their last reader.
        products: Slots of what kernels made.
        cotangents: Slots on the way back.
        rows: Of the tables of results.
        results: Shape and slot of every network's result.
        last: Shape and slot of its last map, among `passing`.
        ends: Slot of the result's cotangent.
        images: Slot of the image's cotangent; `NOWHERE` if it has none.
    """

    image: Shape
    calls: list[Call]
    kept: Slots
    passing: Slots
    products: Slots
    cotangents: Slots
    rows: list[Row]
    results: list[tuple[Shape, int]]
    last: list[tuple[Shape, int]]
    ends: np.ndarray
    images: np.ndarray


def plan(networks: Sequence[Sequence[Step]], lanes: tuple[int, int], image: Shape) -> Plan:
    """Lays out all passes.

    Args:
        networks: Their steps.
        lanes: Of a call of an operator with weights, and of one without.
        image: Shape of the images.
    """
    shapes = [[image, *(s.op.out_shape for s in steps)] for steps in networks]
    last = [_last_map(steps) for steps in networks]
    parts = [
        group[at : at + width]
        for group in groups(networks)
        for width in (lanes[not has_weights(networks[group[0][0]][group[0][1]].op)],)
        for at in range(0, len(group), width)
    ]
    rows = _Rows()
    kept, passing, products, forward = _forward(networks, shapes, parts, last, rows)
    cotangents, ends, images, backward = _backward(networks, shapes, parts, forward, rows)
    calls = []
    for part, there, back in zip(parts, forward.columns, backward, strict=True):
        step = networks[part[0][0]][part[0][1]]
        width = lanes[not has_weights(step.op)]
        calls.append(Call(step.op, step.named, _padded(there, width), _padded(back, width) if any(back) else None))
    return Plan(
        image=image,
        calls=calls,
        kept=kept,
        passing=passing,
        products=products,
        cotangents=cotangents,
        rows=[_row(networks[n][i], n, (n, i) in rows.reached) for n, i in rows.of],
        results=[(shapes[n][-1], forward.slot[n][len(steps)]) for n, steps in enumerate(networks)],
        last=[(shapes[n][value], forward.moving[n][value]) for n, value in enumerate(last)],
        ends=ends,
        images=images,
    )


def _row(step: Step, network: int, reached: bool) -> Row:
    return Row(network, step.named.name, has_weights(step.op), bool(getattr(step.op, "norm", False)), reached)


@dataclass
class _Rows:
    """Rows of the tables of results, by lane, in order; and the lanes that the way back comes by."""

    of: dict[tuple[int, int], int] = field(default_factory=dict)
    reached: set[tuple[int, int]] = field(default_factory=set)


class _Forward(NamedTuple):
    """Columns of every part; slots of every value, kept and passing; slots of products."""

    columns: list[list[list[int]]]
    slot: list[list[int]]
    moving: list[list[int]]
    product: dict[tuple[int, int], int]


def _forward(
    networks: Sequence[Sequence[Step]],
    shapes: list[list[Shape]],
    parts: list[list[tuple[int, int]]],
    last: list[int],
    rows: _Rows,
) -> tuple[Slots, Slots, Slots, _Forward]:
    readers = [Counter(v for s in steps for v in s.inputs) for steps in networks]
    codes = [Counter(s.inputs[0] for s in steps if isinstance(s.op, Conv)) for steps in networks]
    for uses, value in zip(readers, last, strict=True):
        uses[value] += 1  # stays
    kept, passing, products = Slots(), Slots(), Slots()
    image = shapes[0][0]
    first = kept.take(image), passing.take(image)  # the images are the same for all
    slot, moving = ([[start] + [0] * len(steps) for steps in networks] for start in first)
    product: dict[tuple[int, int], int] = {}
    columns = []
    for part in parts:
        op = networks[part[0][0]][part[0][1]].op
        shape, weighted = op.out_shape, has_weights(op)
        recorded = weighted or getattr(op, "norm", False)
        here = []
        for lane in part:
            n, i = lane
            step, slots, moves = networks[n][i], slot[n], moving[n]
            slots[i + 1], moves[i + 1] = kept.take(shape), passing.take(shape)
            missing = [NOWHERE] * (len(op.inputs) - len(step.inputs))
            if weighted:
                product[lane] = products.take(shape)
            if recorded:
                rows.of[lane] = len(rows.of)
            here.append(
                [
                    *(slots[v] for v in step.inputs),
                    *missing,
                    slots[i + 1],
                    *(moves[v] for v in step.inputs),
                    *missing,
                    moves[i + 1],
                    product.get(lane, NOWHERE),
                    rows.of.get(lane, NOWHERE),
                    n,
                    max(1, codes[n][i + 1]),
                ]
            )
        for n, i in part:
            uses = readers[n]
            for v in networks[n][i].inputs:
                uses[v] -= 1
                if not uses[v] and v:
                    passing.give(shapes[n][v], moving[n][v])
        columns.append(here)
    return kept, passing, products, _Forward(columns, slot, moving, product)


def _backward(
    networks: Sequence[Sequence[Step]],
    shapes: list[list[Shape]],
    parts: list[list[tuple[int, int]]],
    forward: _Forward,
    rows: _Rows,
) -> tuple[Slots, np.ndarray, np.ndarray, list[list[list[int]]]]:
    cotangents = Slots()
    pending = [{len(steps): cotangents.take(shapes[n][-1])} for n, steps in enumerate(networks)]
    ends = np.array([slots[len(steps)] for slots, steps in zip(pending, networks, strict=True)], dtype=np.int32)
    columns = []
    for part in reversed(parts):
        op = networks[part[0][0]][part[0][1]].op
        k = len(op.inputs)
        here, used = [], []
        for lane in part:
            n, i = lane
            slots = pending[n]
            if i + 1 not in slots:  # nothing comes back here
                continue
            inputs = networks[n][i].inputs
            missing = [NOWHERE] * (k - len(inputs))
            first = []
            for v in inputs:
                first.append(int(v not in slots))
                if v not in slots:
                    slots[v] = cotangents.take(shapes[n][v])
            rows.reached.add(lane)
            here.append(
                [
                    *(forward.slot[n][v] for v in inputs),
                    *missing,
                    forward.product.get(lane, NOWHERE),
                    rows.of.get(lane, NOWHERE),
                    slots[i + 1],
                    *(slots[v] for v in inputs),
                    *missing,
                    *first,
                    *([0] * len(missing)),
                ]
            )
            used.append(lane)
        for n, i in used:
            cotangents.give(op.out_shape, pending[n].pop(i + 1))
        columns.append(here)
    images = np.array([slots.get(0, NOWHERE) for slots in pending], dtype=np.int32)
    return cotangents, ends, images, columns[::-1]


def _padded(columns: list[list[int]], width: int) -> np.ndarray:
    """Columns as an array; the lanes to spare read and write nothing."""
    return np.array(columns + [[NOWHERE] * len(columns[0])] * (width - len(columns)), dtype=np.int32).T.copy()


def _last_map(steps: Sequence[Step]) -> int:
    """The value that the classifier's pooling reads; without pooling, what the last step reads."""
    pools = [step for step in steps if isinstance(step.op, GlobalPool)]
    return (pools or steps)[-1].inputs[0]
