"""Which network of a front to take: `fastest`, `knee`, `most_accurate`, `latency_ms<=5`, or an architecture."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nas.errors import UserError
from nas.pareto import knee

_LIMIT = re.compile(r"(latency_ms|accuracy|macs|params)\s*(<=|>=|<|>)\s*([\d.eE+-]+)")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_VALUE: dict[str, Callable[[dict[str, Any]], float]] = {
    "latency_ms": lambda entry: entry["latency_ms"]["median"],
    "accuracy": lambda entry: entry["accuracy"],
    "macs": lambda entry: entry["macs"],
    "params": lambda entry: entry["params"],
}


def _fastest(front: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return min(front, key=_VALUE["latency_ms"])


def _most_accurate(front: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return max(front, key=_VALUE["accuracy"])


def _knee(front: Sequence[dict[str, Any]]) -> dict[str, Any]:
    Y = np.array([[_VALUE["latency_ms"](entry), -entry["accuracy"]] for entry in front])
    return front[knee(Y)]


NAMED: dict[str, Callable[[Sequence[dict[str, Any]]], dict[str, Any]]] = {
    "fastest": _fastest,
    "knee": _knee,
    "most_accurate": _most_accurate,
}


def pick(front: Sequence[dict[str, Any]], wish: str) -> dict[str, Any]:
    """The entry of a front that a wish names.

    Args:
        front: Entries with "arch", "accuracy", "macs", "params" and "latency_ms" {"median"}.
        wish: A name in `NAMED`; conditions joined by commas such as "latency_ms<=5,params<2e6", of
            which the most accurate match is taken (the fastest, if accuracy alone is bounded); or
            the text of an architecture in the front.

    Raises:
        UserError: if nothing in the front fits; says what would.
    """
    if not front:
        raise UserError("The front is empty; search with a larger --limit-ms or more --evaluations.")
    wish = wish.strip().replace("most-accurate", "most_accurate")
    if wish in NAMED:
        return NAMED[wish](front)
    for entry in front:
        if entry["arch"] == wish:
            return entry
    conditions = [(_LIMIT.fullmatch(part.strip()), part) for part in wish.split(",")]
    for match, part in conditions:
        if match is None or not _is_number(match[3]):
            raise UserError(
                f"Pick {part!r} is not understood; use {', '.join(NAMED)}, conditions like 'latency_ms<=5' "
                "(latency_ms, accuracy, macs, params), or an architecture of the front."
            )
    matches = [match for match, _ in conditions if match]
    left = [e for e in front if all(_COMPARE[m[2]](_VALUE[m[1]](e), float(m[3])) for m in matches)]
    if not left:
        latency = [_VALUE["latency_ms"](entry) for entry in front]
        accuracy = [entry["accuracy"] for entry in front]
        raise UserError(
            f"No network of the front meets {wish!r}; it spans latency_ms {min(latency):.3g}..{max(latency):.3g} "
            f"and accuracy {min(accuracy):.4g}..{max(accuracy):.4g}."
        )
    return _fastest(left) if {m[1] for m in matches} == {"accuracy"} else _most_accurate(left)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
