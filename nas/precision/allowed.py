"""The sets of operators that an accuracy budget allows, by an order; with dependencies, in two rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from nas.precision.estimates import beside_others
from nas.precision.least_time import Cuts, Times
from nas.precision.sensitivity import Sensitivity, prefixes, valued
from nas.precision.trial import Trial, within_budget
from search_spaces import Network

DEPENDENCIES = ", dependencies"  # ends the names of what the second round finds


class Allowed(NamedTuple):
    """A set within the budget.

    Attributes:
        operators: On integers.
        tried: Accuracies of the sets tried.
        values: The sensitivities that those were made by.
    """

    operators: Sequence[str]
    tried: dict[str, Any]
    values: Mapping[str, float]


@dataclass(frozen=True)
class Budget:
    """What a set of operators of a network may cost.

    Attributes:
        network: Its operators.
        times: Of them.
        trial: To try files.
        exact: Accuracy of the fp32 file on the judged images, percent.
        percent: Of it that a file must keep.
    """

    network: Network
    times: Times
    trial: Trial
    exact: float
    percent: float

    @cached_property
    def _cuts(self) -> Cuts:
        return Cuts(self.network, self.times)

    def sets(self, values: Mapping[str, float]) -> dict[str, Allowed]:
        """As many operators as are allowed, the least sensitive first, and the set of least time that is."""
        tracks = {"most operators": prefixes(values), "least time": self._cuts.path(values)}
        return {
            aim: Allowed(*within_budget(self.trial, sets, self.exact, self.percent), values)
            for aim, sets in tracks.items()
        }

    def time(self, operators: Sequence[str]) -> float:
        """What the network takes with a set on integers, by its operators' times, ms."""
        return self._cuts.time(np.isin([op.name for op in self.network], list(operators)))


def allowed(
    budget: Budget, known: Mapping[str, Sensitivity], order: str, seed: int
) -> tuple[dict[str, Sensitivity], dict[str, Allowed]]:
    """Sets within a budget, by what they aim at, and the sensitivities with what was learned of them on the way.

    In the order "augmented" the Hessian alone gives the first sets. What an operator costs beside the fastest of
    them is measured, and gives others.

    Args:
        budget: And the network.
        known: Sensitivities by name, of `sensitivities`.
        order: One of `ORDERS`.
        seed: Of a random order.
    """
    first = budget.sets(valued(known, "hessian" if order == "augmented" else order, seed))
    if order != "augmented":
        return dict(known), first
    fastest = min((found.operators for found in first.values()), key=budget.time)
    learned = beside_others(known, budget.trial, fastest)
    known_sets = [set(found.operators) for found in first.values()]
    second = {
        aim + DEPENDENCIES: found
        for aim, found in budget.sets(valued(learned, order, seed)).items()
        if set(found.operators) not in known_sets
    }
    return learned, first | second
