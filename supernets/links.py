"""A network as links: what comes before its blocks, each block, and what comes after them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import groupby

from search_spaces import Network, Operator
from supernets.params import Array, Params

Operators = tuple[Operator, ...]


@dataclass(frozen=True)
class Link:
    """Consecutive operators that read one value from outside.

    Attributes:
        prefix: Of its operators' names in the network, "" for the links before and after the blocks.
        operators: Named without the prefix; input 0 is what the link reads, i + 1 the output of operator i.
    """

    prefix: str
    operators: Operators

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of its operators, in the network."""
        return tuple(self.prefix + op.name for op in self.operators)

    def weights(self, params: Mapping[str, Array]) -> Params:
        """Its part of the supernet's weights, full width, by the names that its operators have."""
        return {own: params[name] for own, name in _of_operators(self.prefix, self.names, tuple(params))}


@lru_cache(maxsize=4096)  # a step asks for each link's twice
def _of_operators(prefix: str, operators: tuple[str, ...], names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Names of weights, without the prefix and with it, that belong to some operators."""
    owned = _by_operator(names)
    return tuple((name.removeprefix(prefix), name) for operator in operators for name in owned.get(operator, ()))


@lru_cache(maxsize=16)
def _by_operator(names: tuple[str, ...]) -> dict[str, list[str]]:
    owned: dict[str, list[str]] = {}
    for name in names:
        owned.setdefault(name.rpartition(".")[0], []).append(name)
    return owned


@lru_cache(maxsize=1024)  # the largest and the smallest network are cut at every step of a sandwich
def cut(network: Network) -> tuple[Link, ...]:
    """A network's links: what comes before the blocks, each block, and what comes after them.

    Raises:
        ValueError: if an operator reads a value of an earlier link other than its output.
    """
    found, start = [], 0
    prefixes = [f"{op.part}." if op.part.rpartition(".")[2].startswith("block") else "" for op in network]
    for prefix, group in groupby(zip(prefixes, network, strict=True), key=lambda pair: pair[0]):
        operators = []
        for _, op in group:
            if min(op.inputs) < start:
                raise ValueError(f"{op.name}: a link reads only the output of the link before it.")
            operators.append(replace(op, name=op.name.removeprefix(prefix), inputs=tuple(i - start for i in op.inputs)))
        found.append(Link(prefix, tuple(operators)))
        start += len(operators)
    return tuple(found)
