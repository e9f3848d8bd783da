"""What `nas runs` says of run folders."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import RunError, UserError
from nas.pareto import hypervolume
from nas.runs import Run

# names that this product gives to files before they are whole: .NAME.PID.tmp, .probe.PID
_PARTIAL = re.compile(r"\.(?:.+\.(\d+)\.tmp|probe\.(\d+))")


def find_runs(folder: Path) -> list[Run]:
    """The runs in a folder and below it, by path; folders that only look like runs are passed over.

    Raises:
        UserError: if the folder does not exist.
    """
    if not folder.is_dir():
        raise UserError(f"Folder {str(folder)!r} does not exist; give the folder that your runs are in.")
    found = []
    for path in sorted(folder.rglob("config.json")):
        try:
            found.append(Run.open(path.parent))
        except RunError:
            continue
    return found


def summary(run: Run) -> list[dict[str, Any]]:
    """A row for each searched device of a run, one row without a device if there is none."""
    row = {
        "run": str(run.folder),
        "space": run.space.name,
        "data": run.config.get("data", {}).get("source"),
        "epochs": run.config.get("train", {}).get("epochs"),
    }
    rows = []
    for device in (*run.searched_devices,) or (None,):
        document = run.read_front(device) if device else {}
        front = document.get("front", [])
        rows.append(
            row
            | {
                "device": device,
                "searcher": document.get("searcher"),
                "evaluations": document.get("evaluations"),
                "on front": len(front) if device else None,
                "best %": max((round(e["accuracy"], 2) for e in front), default=None),
                "fastest ms": min((round(e["latency_ms"]["median"], 3) for e in front), default=None),
            }
        )
    return rows


def differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Options, dotted, in which configurations differ, with the value of each run."""
    configs = [flat(run.config) for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config)
    rows = {key: [config.get(key) for config in configs] for key in keys}
    return {key: row for key, row in rows.items() if any(value != row[0] for value in row)}


def front_volumes(runs: Sequence[Run], device: str) -> list[dict[str, Any]]:
    """Size, hypervolume and ends of each run's measured front; the reference is the worst of all of them, a tenth on.

    Raises:
        RunError: if a run has no front on the device, or an empty one.
    """
    fronts = []
    for run in runs:
        front = run.read_front(device)["front"]
        if not front:
            raise RunError(f"Run {str(run.folder)!r} has an empty front on {device!r}; search with a larger limit.")
        fronts.append(np.array([[100 - e["accuracy"], e["latency_ms"]["median"]] for e in front]))
    reference = 1.1 * np.concatenate(fronts).max(axis=0)
    return [
        {
            "networks": len(Y),
            "hypervolume": hypervolume(Y, reference),
            "accuracy": float(100 - Y[:, 0].min()),
            "fastest_ms": float(Y[:, 1].min()),
        }
        for Y in fronts
    ]


def leftovers(folder: Path) -> list[Path]:
    """Half-written files in a run, of processes that are no longer there."""
    found = []
    for path in sorted(folder.rglob(".*")):
        match = _PARTIAL.fullmatch(path.name)
        if match and path.is_file() and not _alive(int(next(filter(None, match.groups())))):
            found.append(path)
    return found


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for key, inner in value.items() for k, v in flat(inner, f"{prefix}.{key}".strip(".")).items()}
