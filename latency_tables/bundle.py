"""Plans as files for devices without a network, and what such a device measured read back.

A bundle is a zip file: plan.json, models/N.onnx, and the device side as `__main__.py`, so that
`python3 BUNDLE.zip` runs it. Results are data: reading them neither unpacks nor runs anything.
"""

import json
import zipfile
import zlib
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from latency_tables import device_side
from latency_tables.devices import Device
from latency_tables.errors import TableError
from latency_tables.plan import Plan, Report
from search_spaces.whole_file import whole_file

MAX_RESULT_BYTES = 1 << 30  # unpacked
_DAMAGED = (
    *(OSError, ValueError, KeyError, IndexError, TypeError, RecursionError, EOFError),
    *(NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error),
)
_MEMBER = "results.jsonl"
_MACHINE = {"cpu": str, "cpu_flags": list, "accelerator": str, "onnxruntime": str}


def write_bundle(plan: Plan, path: str | Path, report: Report = lambda name, share: None) -> Path:
    """Writes a plan with its models and the device side; the file appears whole or not at all.

    Args:
        plan: What to measure.
        path: The zip file.
        report: Called after every model with the share that is done.
    """
    path = Path(path)
    # random weights have a short period (weights.py), so that even the fastest level packs them to little
    with whole_file(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle:
        bundle.writestr("__main__.py", Path(device_side.__file__).read_text(encoding="utf-8"))
        bundle.writestr("plan.json", json.dumps(plan.document))
        for i in range(len(plan.models)):
            bundle.writestr(f"models/{i}.onnx", plan.model(i))
            report("bundle", (i + 1) / len(plan.models))
    return path


class ImportedResults:
    """An executor whose tasks a device has run already: the results of a bundle.

    Args:
        path: What the device wrote: a zip file with results.jsonl, or that file itself.

    Raises:
        TableError: if the file is missing, too large or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            lines = self._read().splitlines(keepends=True)
            # a last line without its end was cut off by a power loss
            rows = [json.loads(line) for line in lines if line.endswith(b"\n")]
            self._digest, self._machine = str(rows[0]["digest"]), _checked_machine(rows[0]["machine"])
            self._records = {str(row["name"]): dict(row["record"]) for row in rows[1:]}
        except _DAMAGED as error:
            raise TableError(
                f"{str(self.path)!r} holds no results of a bundle ({' '.join(str(error).split())[:120]}); "
                "give --import the .results.zip that the device wrote."
            ) from error

    def machine(self, device: Device) -> dict[str, Any]:
        """What `device_side.fingerprint` said there."""
        return self._machine

    def run(self, plan: Plan, skip: Container[str], report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the records.

        Raises:
            TableError: if they belong to another plan, or some are missing.
        """
        if self._digest != plan.digest:
            raise TableError(
                f"{str(self.path)!r} was measured for another plan; "
                "import it with the space, device and options that its bundle was made with."
            )
        names = [task["name"] for task in plan.tasks]
        if missing := [name for name in names if name not in self._records]:
            raise TableError(
                f"{str(self.path)!r} lacks {len(missing)} of {len(names)} tasks, first {missing[0]!r}: the device "
                "was interrupted. Run the bundle there again, which continues, and import its results."
            )
        for name in names:
            if name not in skip:
                yield name, self._records[name]

    def _read(self) -> bytes:
        """Bytes of the results; only that one member of a zip file is looked at, and only in memory."""
        if zipfile.is_zipfile(self.path):
            with zipfile.ZipFile(self.path) as file, file.open(_MEMBER) as member:
                data = member.read(MAX_RESULT_BYTES + 1)  # what is there, whatever the header claims
        else:
            with self.path.open("rb") as plain:
                data = plain.read(MAX_RESULT_BYTES + 1)
        if len(data) > MAX_RESULT_BYTES:
            raise ValueError(f"more than {MAX_RESULT_BYTES} bytes of results")
        return data


def _checked_machine(machine: Any) -> dict[str, Any]:
    """A fingerprint with exactly the keys and types that one has."""
    if not isinstance(machine, dict) or set(machine) != set(_MACHINE):
        raise ValueError("the description of the machine is not one")
    for key, kind in _MACHINE.items():
        if not isinstance(machine[key], kind) or len(str(machine[key])) > 2000:
            raise ValueError(f"the machine's {key} is not a {kind.__name__}")
    return {**machine, "cpu_flags": [str(flag) for flag in machine["cpu_flags"]]}
