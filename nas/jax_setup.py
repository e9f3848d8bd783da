"""What JAX reads from the environment, set before its first use; what is set there already stays."""

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search_spaces import Space


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


def spare_autotuning(space: "Space") -> None:
    """XLA need not try algorithms for spaces whose convolutions are products or kernels of our own.

    Trying takes minutes for the programs of a space.
    """
    from search_spaces import Conv
    from supernets.layers import FEW

    convolutions = [op for op in space.network(space.cardinality - 1) if isinstance(op, Conv)]
    flags = os.environ.get("XLA_FLAGS", "")
    if all(op.depthwise or op.kernel == 1 or op.in_channels <= FEW for op in convolutions) and _LEVEL not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {MANY_PROGRAMS}".strip()


_VIRTUAL_THREADS = "16"
_LEVEL = "xla_gpu_autotune_level"
# For a step of many small programs (supernets/README.md). Untried, products of the matrix library are some five times
# faster than those that XLA generates; a graph of CUDA would have to be changed at every call, as buffers move.
MANY_PROGRAMS = f"--{_LEVEL}=0 --xla_gpu_enable_triton_gemm=false --xla_gpu_enable_command_buffer="
