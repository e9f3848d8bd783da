"""Energy of an inference by the processor's own counters: Linux's powercap interface to RAPL.

The counters are of whole processor packages: idle power and whatever else runs are included.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency_tables.devices import Device
from latency_tables.errors import DeviceError

POWERCAP = Path("/sys/class/powercap")
_SECONDS = 2.0  # a counter moves about once a millisecond


@dataclass(frozen=True)
class Zone:
    """A processor package.

    Attributes:
        name: As the kernel has it, "package-0".
        folder: With its files.
        range_uj: Microjoules after which the counter begins again.
    """

    name: str
    folder: Path
    range_uj: int

    def read(self) -> int:
        """The counter, microjoules."""
        return int((self.folder / "energy_uj").read_text())


@dataclass(frozen=True)
class Energy:
    """Of one call.

    Attributes:
        millijoules: A call, mean over the calls.
        watts: Mean power meanwhile.
        calls: Measured.
    """

    millijoules: float
    watts: float
    calls: int


def energy_zones(folder: Path = POWERCAP) -> tuple[Zone, ...]:
    """The processor packages whose counters this user may read.

    Raises:
        DeviceError: if there are none.
    """
    found = []
    for path in sorted(folder.glob("*:*")):
        try:
            name = (path / "name").read_text().strip()
            zone = Zone(name, path, int((path / "max_energy_range_uj").read_text()))
            zone.read()
        except (OSError, ValueError):
            continue
        if name.startswith("package"):  # the zones inside, cores and memory, are parts of it
            found.append(zone)
    if not found:
        raise DeviceError(
            f"No energy counter of a processor can be read in {str(folder)!r}; "
            "energy needs Linux with RAPL, and mostly the rights to read energy_uj."
        )
    return tuple(found)


def joules(zones: Sequence[Zone], before: Sequence[int], after: Sequence[int]) -> float:
    """Energy between two readings of all zones; a counter may have begun again once."""
    parts = ((b - a) % (zone.range_uj + 1) for zone, a, b in zip(zones, before, after, strict=True))
    return sum(parts) / 1e6


def measure_energy(
    model: Any,
    device: Device,
    zones: Sequence[Zone],
    *,
    seconds: float = _SECONDS,
    clock: Callable[[], float] | None = None,
) -> Energy:
    """Energy of a call of a model, over calls one after the other; nothing else should run meanwhile.

    Args:
        model: A network, an `onnx.ModelProto`, or the path of an ONNX file.
        device: A local CPU.
        zones: Of `energy_zones`.
        seconds: How long.
        clock: Seconds; by default the monotonic clock.

    Raises:
        DeviceError: if the device is no local CPU: its energy is not in these counters.
    """
    from latency_tables import device_side
    from latency_tables.plan import Plan

    if device.where != "local" or device.provider != "CPUExecutionProvider":
        raise DeviceError(f"Device {device.name!r} is no CPU of this machine; its energy cannot be read here.")
    now = clock or time.perf_counter
    runner = device_side.make_runner(Plan(device, [model], []).model(0), device.settings)
    runner()
    calls, before, start = 0, [zone.read() for zone in zones], now()
    while (end := now()) - start < seconds:
        runner()
        calls += 1
    total = joules(zones, before, [zone.read() for zone in zones])
    return Energy(1e3 * total / calls, total / (end - start), calls)
