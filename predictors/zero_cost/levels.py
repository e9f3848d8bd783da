"""Operators of several networks in an order in which those that are equal stand together."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from predictors.zero_cost.programs import signature
from search_spaces import Conv, Linear, Network, Operator, Sum


class Step(NamedTuple):
    """An operator of a network.

    Attributes:
        op: What runs: without name; with the inputs of its kind that has most.
        named: One that has the name, for its weights.
        inputs: Values that it reads; value 0 is the image, i + 1 what step i makes.
    """

    op: Operator
    named: Operator
    inputs: tuple[int, ...]


def lower(networks: Iterable[Network]) -> list[list[Step]]:
    """Networks as steps, every addition and activation after a convolution a step of its own.

    Fewer kinds of operators are then more often equal among networks; so they are with additions of
    two or three maps as one kind.
    """
    known: dict[tuple[str, int], tuple[Operator, Operator | None]] = {}
    found = []
    for network in networks:
        steps: list[Step] = []
        place = [0]
        for op in network.operators:
            inputs = tuple(place[v] for v in op.inputs)
            kind = (op.key, len(inputs))
            if kind not in known:
                known[kind] = _split(op)
            op_alone, join = known[kind]
            if join is None:
                steps.append(Step(op_alone, op, inputs))
            else:
                steps.append(Step(op_alone, op, inputs[:1]))
                steps.append(Step(join, op, (len(steps), *inputs[1:])))
            place.append(len(steps))
        found.append(steps)
    most = Counter[Operator]()
    for step in (step for steps in found for step in steps if isinstance(step.op, Sum)):
        one = replace(step.op, inputs=(0,))
        most[one] = max(most[one], len(step.inputs))
    wide = {op: replace(op, inputs=tuple(range(count))) for op, count in most.items()}
    return [
        [s._replace(op=wide[replace(s.op, inputs=(0,))]) if isinstance(s.op, Sum) else s for s in steps]
        for steps in found
    ]


def _split(op: Operator) -> tuple[Operator, Operator | None]:
    if isinstance(op, Conv) and op.norm and (op.activation != "none" or len(op.inputs) == 2):
        alone = replace(op, inputs=(0,), activation="none")
        return signature(alone), Sum("sum", tuple(range(len(op.inputs))), *op.out_shape[:2], op.activation)
    return signature(op), None


def groups(networks: Sequence[Sequence[Step]]) -> Iterator[list[tuple[int, int]]]:
    """Lanes (network, step) that run together: one operator, with the same weights, of different networks; each
    after what it reads.

    The order is by the longest way to a name over all networks, so that all networks meet at a name;
    where the networks contradict each other, by the longest way in the network.
    """
    reads: dict[tuple[str, str], set[tuple[str, str]]] = {}
    names = [[(s.named.name, s.op.kind) for s in steps] for steps in networks]
    for steps, own in zip(networks, names, strict=True):
        for step, name in zip(steps, own, strict=True):
            reads.setdefault(name, set()).update(own[v - 1] for v in step.inputs if v)
    try:
        level: dict[tuple[str, str], int] = {}
        for name in TopologicalSorter(reads).static_order():
            level[name] = 1 + max((level[n] for n in reads[name]), default=0)
        levels = [[level[name] for name in own] for own in names]
    except CycleError:
        levels = [_own_levels(steps) for steps in networks]
    found: dict[tuple[int, str, Operator, int], list[tuple[int, int]]] = {}
    for n, steps in enumerate(networks):
        before = Counter[tuple[int, Operator]]()
        for i, step in enumerate(steps):
            place = levels[n][i], step.op
            weights = step.named.name if has_weights(step.op) else ""
            # two lanes of one network might both add to the cotangent of what they read
            again = 0 if weights else before[place]
            before[place] += 1
            found.setdefault((place[0], weights, step.op, again), []).append((n, i))
    yield from (found[key] for key in sorted(found, key=lambda key: key[0]))


def _own_levels(steps: Sequence[Step]) -> list[int]:
    levels: list[int] = []
    for step in steps:
        levels.append(1 + max((levels[v - 1] for v in step.inputs if v), default=0))
    return levels


def has_weights(op: Operator) -> bool:
    return isinstance(op, Conv | Linear)
