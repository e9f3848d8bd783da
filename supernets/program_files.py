"""Lowered programs as files, so that a later start traces nothing.

JAX keeps compiled programs (`jax_compilation_cache_dir`) but finds them by the lowered text, for which it traces
anew: for the links of a space most of a minute of Python. Beside them, `jax.export` keeps that text.
"""

import hashlib
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
from jax import export

from search_spaces.whole_file import whole_file

_ROOT = Path(__file__).resolve().parent.parent
_TRITON = export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")  # no older or newer JAX reads these files
_DECIDING = ("jax_default_matmul_precision", "jax_enable_x64", "jax_numpy_dtype_promotion", "jax_default_prng_impl")


@dataclass(frozen=True)
class ProgramFiles:
    """A folder of programs for one device.

    Attributes:
        folder: Where they are.
        conditions: Whatever else a program depends on: versions, device, this package's source.
    """

    folder: Path
    conditions: str

    @classmethod
    def beside_compiled(cls) -> "ProgramFiles | None":
        """Beside JAX's own cache; None where that is off."""
        folder, on = _config("jax_compilation_cache_dir"), _config("jax_enable_compilation_cache")
        if not folder or not on:
            return None
        device = jax.devices()[0]
        conditions = f"{jax.__version__} {device.platform} {device.device_kind} {_source()}"
        return cls(Path(folder) / "links", conditions)


def through(files: ProgramFiles | None, function: partial[Any], *arguments: Any) -> Any:
    """What a function makes of the arguments (of one device), being traced: by its file, which is made if need be.

    Args:
        files: Where to look; None to trace the function itself.
        function: Its keywords, by their `repr`, tell programs apart.
        arguments: Trees of arrays.
    """
    if files is None:
        return function(*arguments)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), arguments)
    config = [_config(name) for name in _DECIDING]
    key = repr((files.conditions, config, function.func.__qualname__, function.keywords, shapes))
    path = files.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.zlib"
    program = _read(path) or _write(path, function, shapes)
    return program.call(*arguments)


def _read(path: Path) -> export.Exported | None:
    try:
        return export.deserialize(bytearray(zlib.decompress(path.read_bytes())))
    except (OSError, zlib.error):  # not there, or damaged, which the checksum in it shows: made anew
        return None


def _write(path: Path, function: Callable[..., Any], shapes: Any) -> export.Exported:
    program = export.export(jax.jit(function), disabled_checks=[_TRITON])(*shapes)
    with suppress(OSError), whole_file(path) as beside:  # a full disk costs the next start time, nothing else
        beside.write_bytes(zlib.compress(bytes(program.serialize()), 1))
    return program


def _config(name: str) -> Any:
    """As it is in this context."""
    return getattr(jax.config, name)


@cache
def _source() -> str:
    """Of everything that decides what a program computes."""
    found = hashlib.sha256()
    for folder in ("supernets", "search_spaces"):
        for path in sorted((_ROOT / folder).glob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()
