"""Giving memory back between the phases of one process."""

import ctypes
import gc
import sys


def release_memory() -> None:
    """Drops compiled programs and returns freed memory to the system.

    The programs of a training take one to two GB, which the workers of the search need.
    """
    import jax

    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only in glibc
        if trim is not None:
            trim(0)
