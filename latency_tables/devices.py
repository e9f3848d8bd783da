"""`Device`: where and how a network runs. Built-in ones, and TOML files of a user's own."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from latency_tables.emit import OPSET
from latency_tables.errors import DeviceError

# What tables are measured in. INT8 comes in ONNX Runtime's two forms: QDQ ("int8") and QOperator.
QUANTISATION = {
    "fp32": "none",
    "fp16": "none",
    "int8": "QDQ U8S8 per channel",
    "int8-qoperator": "QOperator U8S8 per channel",
}
PRECISIONS = tuple(QUANTISATION)
OPTIMIZATION = "ORT_ENABLE_ALL"
_PLACES = re.compile(r"local|bundle|ray|ssh://([\w.-]+@)?([\w.-]+|\[[\da-fA-F:]+\])(:[1-9]\d{0,4})?")
_NAME = re.compile(r"\w[\w.-]{0,63}")  # names of files are made of it
_TYPES: dict[str, type] = {"threads": int, "batch": int, "provider_options": dict}  # of TOML keys; others: str
# Providers that run nothing here: Azure's forwards whole models to a remote service.
FORWARDING = ("AzureExecutionProvider",)


@dataclass(frozen=True)
class Device:
    """Where and how a network runs.

    Attributes:
        name: What the user calls it.
        where: "local", "ssh://user@host:port", "bundle" (carried by hand), or "ray" (a node of the
            cluster that has the custom resource of the device's name).
        provider: ONNX Runtime's execution provider.
        provider_options: Options of that provider.
        threads: Threads inside an operator (`intra_op_num_threads`).
        batch: Images per call; latencies are milliseconds per call.
        precision: "fp32", "fp16", "int8" (QDQ) or "int8-qoperator".
        python: The interpreter with numpy and onnxruntime on a device reached over SSH.
    """

    name: str
    where: str = "local"
    provider: str = "CPUExecutionProvider"
    provider_options: Mapping[str, str] = field(default_factory=dict, hash=False)
    threads: int = 1
    batch: int = 1
    precision: str = "fp32"
    python: str = "python3"

    def __post_init__(self) -> None:
        for name in ("threads", "batch"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise DeviceError(f"Device {self.name!r}: {name} (={value!r}) must be a whole number of at least 1.")
        if not _NAME.fullmatch(self.name):
            raise DeviceError(f"Device name {self.name[:80]!r} must be letters, digits, '.', '_' and '-' (at most 64).")
        if not _PLACES.fullmatch(self.where):
            raise DeviceError(
                f"Device {self.name!r}: where (={self.where!r}) must be 'local', 'bundle', 'ray' or 'ssh://user@host'."
            )
        if self.precision not in PRECISIONS:
            raise DeviceError(f"Device {self.name!r}: precision (={self.precision!r}) must be one of {PRECISIONS}.")

    @property
    def settings(self) -> dict[str, object]:
        """What `device_side` needs to open a session."""
        return {
            "threads": self.threads,
            "provider": self.provider,
            "provider_options": dict(self.provider_options),
            "batch": self.batch,
            "optimization": OPTIMIZATION,
        }


def built_in_devices() -> dict[str, Device]:
    """Devices that need no description: this CPU, and every other provider of the installed ONNX Runtime."""
    import onnxruntime

    cores = _usable_cores()
    devices = [
        Device("local-cpu-1t"),
        Device("local-cpu", threads=cores),
        Device("local-cpu-1t-int8", precision="int8"),
        Device("local-cpu-int8", threads=cores, precision="int8"),
    ]
    for provider in onnxruntime.get_available_providers():
        if provider not in ("CPUExecutionProvider", *FORWARDING):
            name = f"local-{provider.removesuffix('ExecutionProvider').lower()}"
            devices.append(Device(name, provider=provider, threads=cores))
    return {device.name: device for device in devices}


def get_device(name_or_path: str | Path) -> Device:
    """A built-in device by its name, an address `ssh://user@host`, or the one that a TOML file describes.

    Example of a file (all but `name` may be left out):
        name = "kiosk"
        where = "ssh://pi@kiosk.local"
        precision = "int8"
        provider = "CPUExecutionProvider"
        threads = 2
        batch = 1
        [provider_options]

    Raises:
        DeviceError: if there is no such device or file, or the file is malformed.
    """
    text = str(name_or_path)
    if text.startswith("ssh://"):
        return Device(re.sub(r"[^\w.-]+", "-", text), where=text)
    if not text.endswith(".toml"):
        devices = built_in_devices()
        if text not in devices:
            raise DeviceError(
                f"Device {text!r} is unknown; choose one of: {', '.join(devices)}, or give the path of a .toml file."
            )
        return devices[text]
    try:
        values = tomllib.loads(Path(text).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(f"Device file {text!r} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise DeviceError(f"Device file {text!r} is not valid TOML: {error}.") from error
    return _from_values(text, values)


def _from_values(path: str, values: dict[str, object]) -> Device:
    """A device of what a file says, every key and type checked."""
    types: dict[str, type] = {f.name: _TYPES.get(f.name, str) for f in fields(Device)}
    for key, value in values.items():
        if key not in types:
            raise DeviceError(f"Device file {path!r} has an unknown key {key!r}; known: {', '.join(types)}.")
        if not isinstance(value, types[key]):
            raise DeviceError(f"Device file {path!r}: {key} (={value!r}) must be a {types[key].__name__}.")
    if not values.get("name"):
        raise DeviceError(f"Device file {path!r} lacks the key 'name'.")
    options = values.pop("provider_options", {})
    assert isinstance(options, dict)
    device = Device(provider_options={str(k): str(v) for k, v in options.items()}, **values)  # type: ignore[arg-type]
    _require_provider(device)
    return device


def _require_provider(device: Device) -> None:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if device.where == "local" and device.provider not in available:
        raise DeviceError(
            f"Device {device.name!r}: provider {device.provider!r} is not in the installed ONNX Runtime, "
            f"which has: {', '.join(available)}."
        )


def device_fingerprint(device: Device, machine: Mapping[str, object] | None = None) -> dict[str, object]:
    """The conditions that a latency depends on; a table stores them, and refuses to serve others.

    Args:
        device: The device.
        machine: What `device_side.fingerprint` said there; asked of this machine for a local device,
            and left out where it is not known.
    """
    if machine is None and device.where == "local":
        from latency_tables import device_side

        machine = device_side.fingerprint(device.provider)
    return {
        "device": device.name,
        "where": device.where,
        "provider": device.provider,
        "provider_options": dict(device.provider_options),
        "threads": device.threads,
        "batch": device.batch,
        "precision": device.precision,
        "quantisation": QUANTISATION[device.precision],
        "optimization": OPTIMIZATION,
        "opset": OPSET,
        **(machine or {}),
    }


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
