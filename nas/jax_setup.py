"""What JAX reads from the environment, set before its first use; what is set there already stays."""

import os
import platform
from pathlib import Path


def keep_programs() -> None:
    """Compiled programs are kept between starts, in a folder a host: they hold instructions of its processor."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if cache.startswith("~"):  # a user without a home, as in some containers: nothing is kept
        return
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(cache, "nas-platform", platform.node(), "jax")))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


def threads_for_virtual_devices() -> None:
    """Devices that XLA makes of one CPU share a thread per core: too few for one to compute what another waits for."""
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        os.environ.setdefault("PJRT_NPROC", _VIRTUAL_THREADS)


def spare_autotuning() -> None:
    """XLA need not try algorithms: convolutions are matrix products or kernels of our own (`supernets.layers`).

    Trying takes minutes for the programs of a space.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _LEVEL not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {MANY_PROGRAMS}".strip()


_VIRTUAL_THREADS = "16"
_LEVEL = "xla_gpu_autotune_level"
# For a step of many small programs (supernets/README.md). Untried, products of the matrix library are some five times
# faster than those that XLA generates; a graph of CUDA would have to be changed at every call, as buffers move.
MANY_PROGRAMS = f"--{_LEVEL}=0 --xla_gpu_enable_triton_gemm=false --xla_gpu_enable_command_buffer="
