"""`Plan`: what is to be measured where, as data; and the executor that measures it on this machine.

A plan is a list of models and of tasks over them. Executors run the tasks and yield their
records: here, over SSH, as a bundle carried by hand, or on a cluster (nas/).
"""

import hashlib
import json
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from latency_tables import device_side
from latency_tables.devices import Device
from latency_tables.errors import TableError
from latency_tables.timed import timed_model
from search_spaces import Network

Report = Callable[[str, float], None]  # name of a task, share of it that is done


@dataclass(frozen=True)
class Plan:
    """Models and what to do with them.

    Attributes:
        device: Where and how.
        models: Networks, `onnx.ModelProto`s, or paths of ONNX files.
        tasks: As `device_side.Bench` takes them: "name", "kind", "models" and "anchors" (positions), then
            for kind "trace" "rounds" and "calls", for kind "time" "copies", "tolerance", "rounds",
            "seconds" and "seed".
    """

    device: Device
    models: Sequence[Any]
    tasks: Sequence[dict[str, Any]]

    def model(self, position: int) -> bytes:
        """A model as bytes of an ONNX file."""
        model = self.models[position]
        if isinstance(model, Network):
            return timed_model(model, self.device)
        if hasattr(model, "SerializeToString"):
            return bytes(model.SerializeToString())
        return Path(model).read_bytes()

    @cached_property
    def digest(self) -> str:
        """Equal for equal plans; results name the plan that they belong to."""
        own = hashlib.sha256()
        for i, model in enumerate(self.models):
            own.update(model.text.encode() if isinstance(model, Network) else self.model(i))
        text = json.dumps([self.device.settings, self.device.precision, list(self.tasks)], sort_keys=True)
        own.update(text.encode())
        return own.hexdigest()

    @property
    def document(self) -> dict[str, Any]:
        """What the device side needs besides the models."""
        return {"digest": self.digest, "settings": self.device.settings, "tasks": list(self.tasks)}


class Executor(Protocol):
    """Runs plans on a device."""

    def machine(self, device: Device) -> dict[str, Any]:
        """What `device_side.fingerprint` says there."""
        ...

    def run(self, plan: Plan, skip: Container[str], report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields (name, record) of every task that is not in `skip`."""
        ...


class LocalExecutor:
    """Measures in this process."""

    def machine(self, device: Device) -> dict[str, Any]:
        """What `device_side.fingerprint` says here."""
        return device_side.fingerprint(device.provider)

    def run(self, plan: Plan, skip: Container[str], report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields (name, record) of every task that is not in `skip`."""
        bench = device_side.Bench(plan.device.settings, lambda i: _model(plan, i))
        for task in plan.tasks:
            if task["name"] not in skip:
                yield task["name"], bench(task, lambda share, name=task["name"]: report(name, share))  # type: ignore[misc]


def _model(plan: Plan, position: int) -> Any:
    """A file stays a path, so that weights beside it are found."""
    model = plan.models[position]
    return str(model) if isinstance(model, str | Path) else plan.model(position)


def local_executor(device: Device) -> LocalExecutor:
    """The executor of a local device.

    Raises:
        TableError: if the device is elsewhere.
    """
    if device.where != "local":
        raise TableError(f"Device {device.name!r} is at {device.where!r}; hand measure and profile an executor for it.")
    return LocalExecutor()
