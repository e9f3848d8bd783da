"""The scores of an evolution of spaces on disk, so that a killed one goes on where it was."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas.errors import RunError
from search_spaces.hyperspace import Design


class ScoreLog:
    """A header line with the options, then a scored space a line.

    Args:
        path: The file.
        options: What an earlier evolution must have had in common.

    Raises:
        RunError: if it had not, or a line is damaged.
    """

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        self._path, self._old = path, list[tuple[Design, float]]()
        self.scored, self.best = 0, float("-inf")
        if not path.is_file() or b"\n" not in (data := path.read_bytes()):
            path.write_text(json.dumps(options) + "\n", encoding="utf-8")
            return
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:  # a kill left the last line without its end
            with path.open("r+b") as file:
                file.truncate(len(whole))
        header, *lines = whole.decode().splitlines()
        try:
            if json.loads(header) != json.loads(json.dumps(options)):
                raise RunError(f"{path} was begun with other options; use another --out.")
            rows = [json.loads(line) for line in lines]
            self._old = [(tuple(map(int, row["design"])), float(row["score"])) for row in rows]
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is damaged ({error}); remove it to score all spaces again.") from error

    def __call__(self, design: Design, score: Callable[[Design], float]) -> float:
        """The score of a space, out of the log if it is the one that was asked at this point."""
        if self.scored < len(self._old):
            logged, value = self._old[self.scored]
            if logged != design:
                raise RunError(f"{self._path}: space {self.scored + 1} is another one now; remove the file.")
        else:
            value = score(design)
            with self._path.open("a") as file:
                file.write(json.dumps({"design": list(design), "score": value}) + "\n")
                file.flush()
                os.fsync(file.fileno())
        self.scored += 1
        self.best = max(self.best, value)
        return value
