"""`Device`: where and how a network runs. Built-in ones, and TOML files of a user's own."""

import os
import platform
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from latency_tables.emit import OPSET
from latency_tables.errors import DeviceError

PRECISIONS = ("fp32",)  # what tables are measured in; INT8 files are measured whole, see int8.py
OPTIMIZATION = "ORT_ENABLE_ALL"
# Instruction sets that ONNX Runtime picks its kernels by.
_FLAGS = (
    *("avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve"),
)
_TYPES: dict[str, type] = {"threads": int, "batch": int, "provider_options": dict}  # of TOML keys; others: str
# Providers that run nothing by themselves: Azure's forwards whole models to a remote service.
_NO_DEVICE = ("CPUExecutionProvider", "AzureExecutionProvider")


@dataclass(frozen=True)
class Device:
    """Where and how a network runs.

    Attributes:
        name: What the user calls it.
        where: "local"; other places are a later matter.
        provider: ONNX Runtime's execution provider.
        provider_options: Options of that provider.
        threads: Threads inside an operator (`intra_op_num_threads`).
        batch: Images per call; latencies are milliseconds per call.
        precision: "fp32".
    """

    name: str
    where: str = "local"
    provider: str = "CPUExecutionProvider"
    provider_options: Mapping[str, str] = field(default_factory=dict, hash=False)
    threads: int = 1
    batch: int = 1
    precision: str = "fp32"

    def __post_init__(self) -> None:
        for name in ("threads", "batch"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise DeviceError(f"Device {self.name!r}: {name} (={value!r}) must be a whole number of at least 1.")
        if self.where != "local":
            raise DeviceError(f"Device {self.name!r}: where (={self.where!r}) must be 'local'.")
        if self.precision not in PRECISIONS:
            raise DeviceError(f"Device {self.name!r}: precision (={self.precision!r}) must be one of {PRECISIONS}.")


def built_in_devices() -> dict[str, Device]:
    """Devices that need no description: this CPU, and every other provider of the installed ONNX Runtime."""
    import onnxruntime

    devices = [Device("local-cpu-1t"), Device("local-cpu", threads=_usable_cores())]
    for provider in onnxruntime.get_available_providers():
        if provider not in _NO_DEVICE:
            name = f"local-{provider.removesuffix('ExecutionProvider').lower()}"
            devices.append(Device(name, provider=provider, threads=_usable_cores()))
    return {device.name: device for device in devices}


def get_device(name_or_path: str | Path) -> Device:
    """A built-in device by its name, or the one that a TOML file describes.

    Example of a file (all but `name` may be left out):
        name = "kiosk"
        provider = "CPUExecutionProvider"
        threads = 2
        batch = 1
        [provider_options]

    Raises:
        DeviceError: if there is no such device or file, or the file is malformed.
    """
    text = str(name_or_path)
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
    if device.provider not in available:
        raise DeviceError(
            f"Device {device.name!r}: provider {device.provider!r} is not in the installed ONNX Runtime, "
            f"which has: {', '.join(available)}."
        )


def device_fingerprint(device: Device) -> dict[str, object]:
    """The conditions that a latency depends on; a table stores them, and refuses to serve others."""
    import onnxruntime

    cpu, flags = _cpu()
    return {
        "device": device.name,
        "where": device.where,
        "provider": device.provider,
        "provider_options": dict(device.provider_options),
        "accelerator": _accelerator(device.provider),
        "cpu": cpu,
        "cpu_flags": flags,
        "threads": device.threads,
        "batch": device.batch,
        "precision": device.precision,
        "quantisation": "none",
        "onnxruntime": onnxruntime.__version__,
        "optimization": OPTIMIZATION,
        "opset": OPSET,
    }


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> tuple[str, list[str]]:
    """Name of the CPU, and those of its instruction sets that decide which kernels run."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine(), []
    values = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in info.splitlines())}
    name = values.get("model name") or platform.machine()
    numbers = "/".join(values[k] for k in ("cpu family", "model", "stepping") if k in values)
    present = set(re.split(r"\s+", values.get("flags") or values.get("Features") or ""))
    return f"{name} ({numbers})" if numbers else name, [flag for flag in _FLAGS if flag in present]


def _accelerator(provider: str) -> str:
    """What ONNX Runtime calls the hardware behind a provider; empty for the CPU."""
    import onnxruntime

    if provider == "CPUExecutionProvider":
        return ""
    found = (d.device for d in onnxruntime.get_ep_devices() if d.ep_name == provider)
    return "; ".join(sorted({f"{d.vendor} {d.metadata.get('Description', '')}".strip() for d in found}))
