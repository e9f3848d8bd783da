"""The append-only log of a search: a header line with its options, then one evaluated architecture a line."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import RunError
from search_spaces import Space

FORMAT = 1


class EvaluationLog:
    """Reads what an interrupted search left, then appends.

    Args:
        space: Of the architectures.
        objectives: Names of the values, in order.
        path: The file, or None to keep nothing.
        options: What the search must have in common with the one that began the file.

    Raises:
        RunError: if the file belongs to a search with other options, or a line is damaged.
    """

    def __init__(self, space: Space, objectives: Sequence[str], path: Path | None, options: dict[str, Any]) -> None:
        self._space, self._objectives, self._path = space, tuple(objectives), path
        self._old: list[tuple[str, tuple[float, ...]]] = []
        self._replayed = 0
        if path is None:
            return
        header = {"format": FORMAT, "space": space.name, "space_options": space.options, **options}
        if path.exists() and _drop_half_line(path):
            self._read(path, json.loads(json.dumps(header)))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            _append(path, header)

    def replay(self, X: np.ndarray) -> list[tuple[float, ...]]:
        """Values of the first rows of `X` that the log already holds."""
        rows = []
        for x in X:
            if self._replayed == len(self._old):
                break
            text, values = self._old[self._replayed]
            if text != self._space.to_text(x):
                raise RunError(
                    f"{self._path}: evaluation {self._replayed + 1} is {text}, the search now asks for "
                    f"{self._space.to_text(x)}; the code has changed since, start a new log with --fresh."
                )
            rows.append(values)
            self._replayed += 1
        return rows

    def append(self, x: np.ndarray, values: Sequence[float]) -> None:
        """Writes one evaluation through to the disk."""
        if self._path is not None:
            named = dict(zip(self._objectives, map(float, values), strict=True))
            _append(self._path, {"arch": self._space.to_text(x), **named})

    def _read(self, path: Path, header: dict[str, Any]) -> None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            found = json.loads(lines[0])
            for name in sorted({*header, *found}):
                if header.get(name) != found.get(name):
                    raise RunError(
                        f"{path} was begun with {name}={found.get(name)!r}, now it is {header.get(name)!r}; "
                        "use the same options to resume, or --fresh to start again."
                    )
            for line in lines[1:]:
                row = json.loads(line)
                self._space.parse(row["arch"])
                self._old.append((row["arch"], tuple(float(row[name]) for name in self._objectives)))
        except RunError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise RunError(
                f"{path}: line {len(self._old) + 2} is damaged ({error}); mend it or use --fresh to start again."
            ) from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The evaluations that a log holds right now: each architecture's text and values.

    A line that is only half written or damaged is left out: the search itself will say so.
    """
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n")[1:-1]:  # without the header and what has no line end yet
        try:
            row = json.loads(line)
            rows.append({"arch": str(row.pop("arch")), **{name: float(value) for name, value in row.items()}})
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return rows


def _drop_half_line(path: Path) -> bool:
    """Cuts off a last line that a kill left without its end; whether anything remains."""
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        with path.open("r+b") as file:
            file.truncate(end)
    return end > 0


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())
