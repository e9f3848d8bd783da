"""What a search may minimise or limit beside error and the device's latency: one `Cost` each, by name."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import UserError
from nas.tables import find_table
from search_spaces import AdditiveCost, Network, Space
from search_spaces.operators import Operator, stored_bytes
from search_spaces.user_code import is_user_function, load_function

if TYPE_CHECKING:
    from latency_tables import Device, LatencyTable

_SUMS: dict[str, Callable[[Operator], list[float]]] = {
    "macs": lambda op: [op.macs],
    "params": lambda op: [op.params],
    "size_bytes": lambda op: [stored_bytes(op, 32)],
    "size_bytes:int8": lambda op: [stored_bytes(op, 8)],
}
_DEVICE = "latency:"
ENERGY = "energy_mj"
NAMES = f"{', '.join(_SUMS)}, peak_memory_bytes, {ENERGY}, {_DEVICE}DEVICE, FILE.py:FUNCTION"


@dataclass(frozen=True)
class Cost:
    """A cost of architectures, minimised.

    Attributes:
        name: As on the command line; also the column in logs and documents.
        values: Of genotypes `[n, genes]`, float64 `[n]`.
        known: Whether a searcher may ask it of thousands of architectures that it does not evaluate.
        version: What must be unchanged when a search resumes, such as the digest of the user's file.
        device: Whose latency it is, with its table; such a cost is re-measured at the end.
        alone: Whether nothing else may run while it is measured.
    """

    name: str
    values: Callable[[np.ndarray], np.ndarray]
    known: bool = True
    version: str = ""
    device: "tuple[Device, LatencyTable] | None" = None
    alone: bool = False


def make_cost(name: str, space: Space, run: Path | None = None) -> Cost:
    """A cost by its name.

    Args:
        name: macs, params, size_bytes (fp32 weights), size_bytes:int8 (weights of the INT8 file),
            peak_memory_bytes (fp32 activations, batch 1), energy_mj (of a call on this CPU, measured),
            "latency:DEVICE" (another device, or the same in INT8, by its table), or "file.py:function",
            a function of the user's own from a `Network` to a number.
        space: Of the genotypes.
        run: Folder with the run's tables.

    Raises:
        UserError: if the name is unknown or the device has no table; `SpaceError` for a faulty file.
    """
    if name in _SUMS:
        total = AdditiveCost(space, _SUMS[name])
        return Cost(name, lambda X: total(X)[:, 0])
    if name == "peak_memory_bytes":
        return Cost(name, PerNetwork(name, space, lambda network: network.live.peak_memory), known=False)
    if name.startswith(_DEVICE):
        return _latency(name, space, run)
    if name == ENERGY:
        return _energy(name, space)
    if is_user_function(name):
        own = load_function(name)
        return Cost(name, PerNetwork(name, space, own.function), known=False, version=own.sha256)
    raise UserError(f"Objective {name!r} is unknown; error and latency_ms are always there, add any of: {NAMES}.")


def _latency(name: str, space: Space, run: Path | None) -> Cost:
    from latency_tables import get_device
    from predictors import TableLatency

    device = get_device(name.removeprefix(_DEVICE))
    table = find_table(space, device, run=run)
    return Cost(name, TableLatency(table, space).fit().predict, device=(device, table))


def _energy(name: str, space: Space) -> Cost:
    """Energy of a call on one thread of this CPU: measured network by network, each once."""
    from latency_tables import get_device
    from latency_tables.energy import energy_zones, measure_energy

    zones, device = energy_zones(), get_device("local-cpu-1t")
    measured = PerNetwork(name, space, lambda network: measure_energy(network, device, zones).millijoules)
    return Cost(name, measured, known=False, alone=True)


class PerNetwork:
    """A cost that is computed network by network, each once.

    Args:
        name: Of the cost, for messages.
        space: Of the genotypes.
        function: From a network to a number.
    """

    def __init__(self, name: str, space: Space, function: Callable[[Network], Any]) -> None:
        self._name, self._space, self._function = name, space, function
        self._known: dict[tuple[int, ...], float] = {}

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Values of genotypes `[n, genes]`, float64 `[n]`.

        Raises:
            UserError: if the function fails or returns something else than a finite number.
        """
        return np.array([self._value(x) for x in np.atleast_2d(X)], dtype=np.float64)

    def _value(self, x: np.ndarray) -> float:
        key = tuple(x.tolist())
        if key not in self._known:
            try:
                value = float(self._function(self._space.network(x)))
            except Exception as error:  # whatever the user's code raises
                raise UserError(
                    f"Objective {self._name!r} fails on {self._space.to_text(x)} with {type(error).__name__}: {error}"
                ) from error
            if not math.isfinite(value):
                raise UserError(f"Objective {self._name!r} of {self._space.to_text(x)} is {value}; it must be finite.")
            self._known[key] = value
        return self._known[key]


def parse_limits(texts: Sequence[str]) -> dict[str, float]:
    """Limits out of texts NAME=VALUE, such as params=5e6.

    Raises:
        UserError: if one is malformed, not positive, or given twice.
    """
    limits: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not equals or not name or not (0 < value < math.inf):
            raise UserError(f"Limit {text!r} must look like NAME=NUMBER with a number above 0, e.g. params=5e6.")
        if name in limits:
            raise UserError(f"Limit on {name!r} is given twice; leave one out.")
        limits[name] = value
    return limits


def make_costs(
    names: Sequence[str], limits: Mapping[str, float], space: Space, run: Path | None = None
) -> tuple[Cost, ...]:
    """The costs that are named or limited, each once, in that order.

    Raises:
        UserError: as `make_cost`.
    """
    return tuple(make_cost(name, space, run) for name in dict.fromkeys([*names, *limits]))
