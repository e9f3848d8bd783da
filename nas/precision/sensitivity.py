"""What rounding an operator costs: by the Hessian alone, and with what it costs beside the others.

The Hessian's estimate (HAWQ-V2's, of n weights, and likewise of the values that an operator reads and makes)

    O_l = 1/2 [ tr(H_W) / n * |Q(W) - W|^2 + sum over those values a of tr(H_a) * s_a^2 / 12 ]

takes operators one by one. What one costs depends on what else is rounded: to second order the loss of a set is
L(S) = sum_l O_l + sum_{l<j} I_lj, and beside a set S operator l costs

    L(S with l) - L(S without l) = O_l + sum over j in S of I_lj

which is one evaluation of a quantised file an operator, where pairs would take one each. S is a set near the one
sought: dependencies on operators that stay in float do not count.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search_spaces import Network

if TYPE_CHECKING:
    from latency_tables.rounding_errors import RoundingError

ORDERS = ("augmented", "hessian", "random")


@dataclass(frozen=True)
class Sensitivity:
    """Of one operator; larger is worse.

    Attributes:
        hessian: O_l, in units of the divergence from the fp32 network's answers; not a number where not estimated.
        beside: What it costs beside a set of others, measured, in the same units; None where it was not.
    """

    hessian: float
    beside: float | None = None

    @property
    def augmented(self) -> float:
        """The larger; errors that happen to cancel on the images at hand count as the Hessian says."""
        return max(self.hessian, self.beside or 0.0)


def rounded_blocks(
    network: Network, image_step: float, errors: "Mapping[str, RoundingError]"
) -> dict[str, dict[str, float]]:
    """What rounding each operator changes: standard deviations by array of `divergence_of_file`'s point.

    Its weights, and the values that it reads and makes: both ends are rounded where it runs on integers. An error
    of rounding is taken for uniform, so that its variance is step^2 / 12.

    Args:
        network: Whose operators.
        image_step: Step of the image's rounding.
        errors: Of the operators in the file with all of them quantised.
    """
    from nas.precision.differentiable import IMAGE

    names = [IMAGE, *(op.name for op in network)]
    steps = [image_step, *(errors[op.name].step for op in network)]
    found = {}
    for i, op in enumerate(network):
        found[op.name] = {names[v]: steps[v] / 12**0.5 for v in {*op.inputs, i + 1}}
        if errors[op.name].weights:
            found[op.name][f"{op.name}.kernel"] = errors[op.name].weights ** 0.5
    return found


def costs_beside(
    operators: Sequence[str],
    chosen: Sequence[str],
    loss: Callable[[Sequence[str]], float],
    on_done: Callable[[int], None] = lambda done: None,
) -> dict[str, float]:
    """What every operator costs beside a set of them, its own among them or not.

    Args:
        operators: All of them.
        chosen: The set.
        loss: Of the network with some of them quantised.
        on_done: Called with the number of operators done.
    """
    members, base, found = set(chosen), loss(chosen), {}
    for done, name in enumerate(operators, 1):
        other = loss([each for each in operators if (each in members) != (each == name)])
        found[name] = base - other if name in members else other - base
        on_done(done)
    return found


def valued(sensitivities: Mapping[str, Sensitivity], order: str, seed: int) -> dict[str, float]:
    """What an order takes an operator's sensitivity to be, at least 0.

    Args:
        sensitivities: By name, in the order of the network.
        order: One of `ORDERS`.
        seed: Of a random order, in which the values are places.
    """
    if order == "random":
        places = np.random.default_rng(seed).permutation(len(sensitivities))
        return {name: float(place + 1) for name, place in zip(sensitivities, places, strict=True)}
    return {name: max(0.0, s.hessian if order == "hessian" else s.augmented) for name, s in sensitivities.items()}


def prefixes(values: Mapping[str, float]) -> list[tuple[str, ...]]:
    """Sets of operators, from none to all, each with the least sensitive one that the set before has not."""
    names = sorted(values, key=values.__getitem__)
    return [tuple(names[:k]) for k in range(len(names) + 1)]
