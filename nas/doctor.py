"""What is installed here, which providers and devices work, and what will be slow or noisy, and why."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "onnx", "onnxruntime", "ray", "optuna", "numpy", "pandas")
_FREE_GIB = 5
_BUSY = 0.3  # of the cores: above it, other programs disturb measurements


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        what: Its name.
        state: "ok", "slow" (works, with a reason to expect less) or "broken".
        detail: What was found, and the remedy where there is one.
    """

    what: str
    state: str
    detail: str


def examine() -> Iterator[Finding]:
    """Everything, in the order in which a person would look."""
    for look in (_python, _packages, _jax, _providers, _devices, _processor, _energy, _load, _disk):
        yield from look()


def _python() -> Iterator[Finding]:
    good = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if good else "broken", f"{sys.version.split()[0]}{'' if good else '; needs 3.11'}")


def _packages() -> Iterator[Finding]:
    missing, found = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    yield Finding("packages", "ok", ", ".join(found))
    if missing:
        yield Finding("packages", "broken", f"not installed: {', '.join(missing)}; run scripts/setup")


def _jax() -> Iterator[Finding]:
    def look() -> tuple[str, str]:
        import jax

        devices = jax.devices()
        text = f"{len(devices)} {devices[0].platform} device(s): {devices[0].device_kind}"
        if devices[0].platform == "cpu":
            return "slow", f"{text}; training takes hours here: with an NVIDIA GPU install the extra [gpu]"
        return "ok", text

    yield _tried("jax", look)


def _providers() -> Iterator[Finding]:
    """Runs a small network on every execution provider; those that cannot do anything here fail only then."""
    import numpy as np
    import onnxruntime

    from latency_tables import onnx_model
    from latency_tables.devices import FORWARDING
    from search_spaces import get_space

    space = get_space("ofa_mbv3", width=0.1, resolutions=32, num_classes=2)
    model = onnx_model(space.network(space.sample(np.random.default_rng(0), 1)[0])).SerializeToString()

    def run(provider: str) -> tuple[str, str]:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model, options, providers=[provider])
        session.run(None, {"image": np.zeros((1, 3, 32, 32), np.float32)})
        if provider not in session.get_providers():
            return "broken", "offered, but falls back to the CPU: its libraries are missing"
        return "ok", "runs a small network"

    for provider in onnxruntime.get_available_providers():
        if provider not in FORWARDING:
            yield _tried(provider, lambda provider=provider: run(provider))  # type: ignore[misc]


def _devices() -> Iterator[Finding]:
    from latency_tables.devices import built_in_devices

    yield Finding("devices", "ok", ", ".join(built_in_devices()))


def _processor() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    few = "; training and search are slow on so few" if cores < 4 else ""
    yield Finding("cores", "slow" if few else "ok", f"{cores} usable{few}")
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if governor.is_file():
        kind = governor.read_text().strip()
        steady = kind == "performance"
        advice = "" if steady else "; latencies vary: `cpupower frequency-set -g performance` while profiling"
        yield Finding("frequency governor", "ok" if steady else "slow", kind + advice)


def _energy() -> Iterator[Finding]:
    from latency_tables import DeviceError
    from latency_tables.energy import energy_zones

    try:
        names = ", ".join(zone.name for zone in energy_zones())
        yield Finding("energy counters", "ok", f"{names}: --objective energy_mj works")
    except DeviceError as error:
        yield Finding("energy counters", "slow", f"--objective energy_mj does not work here: {error}")


def _load() -> Iterator[Finding]:
    if not hasattr(os, "getloadavg"):
        return
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    busy = load > _BUSY * cores
    advice = "; latencies measured now are noisy: stop other programs while profiling" if busy else ""
    yield Finding("load", "slow" if busy else "ok", f"{load:.1f} on {cores} cores{advice}")


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(".").free / 2**30
    little = free < _FREE_GIB
    yield Finding("disk", "slow" if little else "ok", f"{free:.0f} GiB free here{'; make room' if little else ''}")


def _tried(what: str, look: Callable[[], tuple[str, str]]) -> Finding:
    try:
        return Finding(what, *look())
    except Exception as error:  # whatever a library does when it does not work is what we are here to tell
        return Finding(what, "broken", " ".join(str(error).split())[:200])
