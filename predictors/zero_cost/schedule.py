"""Order in which the operators of several networks run, equal ones of several networks together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from search_spaces import Conv, Network, Operator, Sum

Lane = tuple[int, int]  # which network, which of its operators


def schedule(networks: Sequence[Network]) -> list[list[Lane]]:
    """Groups of equal operators (name, shape, number of inputs), every one after what it reads.

    Greedy: runs next what is ready in the largest share of the networks that still need it.
    """
    waiting = [[{v - 1 for v in op.inputs if v} for op in network] for network in networks]
    readers: list[dict[int, list[int]]] = [{} for _ in networks]
    for n, network in enumerate(networks):
        for i, op in enumerate(network):
            for v in set(op.inputs) - {0}:
                readers[n].setdefault(v - 1, []).append(i)
    remaining = Counter(op.name for network in networks for op in network)
    ready: dict[tuple[str, str], list[Lane]] = {}

    def add(n: int, i: int) -> None:
        op = networks[n].operators[i]
        ready.setdefault((op.name, op.key), []).append((n, i))

    for n, needs in enumerate(waiting):
        for i, need in enumerate(needs):
            if not need:
                add(n, i)
    groups = []
    while ready:
        names = Counter[str]()
        for (name, _), lanes in ready.items():
            names[name] += len(lanes)
        best = max(ready, key=lambda key: (names[key[0]] / remaining[key[0]], -ready[key][0][1]))
        lanes = ready.pop(best)
        groups.append(lanes)
        remaining[best[0]] -= len(lanes)
        for n, i in lanes:
            for reader in readers[n].get(i, ()):
                waiting[n][reader].discard(i)
                if not waiting[n][reader]:
                    add(n, reader)
    return groups


def unfused(network: Network) -> Network:
    """The same network with every addition and activation after a convolution as an operator of its own.

    Fewer kinds of operators are then more often equal among networks.
    """
    operators: list[Operator] = []
    place = {0: 0}
    for i, op in enumerate(network.operators, 1):
        inputs = tuple(place[v] for v in op.inputs)
        if isinstance(op, Conv) and op.norm and (op.activation != "none" or len(inputs) == 2):
            operators.append(replace(op, inputs=inputs[:1], activation="none"))
            parts = (len(operators), *inputs[1:])
            operators.append(Sum(f"{op.name}.join", parts, *op.out_shape[:2], op.activation))
        else:
            operators.append(replace(op, inputs=inputs))
        place[i] = len(operators)
    return replace(network, operators=tuple(operators))
