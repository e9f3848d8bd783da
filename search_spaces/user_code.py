"""Functions of a user's own, named on the command line as `file.py:function`."""

import hashlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.errors import SpaceError

_NAME = re.compile(r"(?P<file>.+\.py):(?P<function>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class UserFunction:
    """A function out of a user's file.

    Attributes:
        path: The file, absolute.
        name: The function's name.
        sha256: Of the file's bytes, in hexadecimal; what was run is known by it.
        function: The function.
    """

    path: Path
    name: str
    sha256: str
    function: Callable[..., Any]

    @property
    def text(self) -> str:
        """The name that `load_function` reads."""
        return f"{self.path}:{self.name}"


def is_user_function(text: str) -> bool:
    """Whether a name has the form `file.py:function`."""
    return _NAME.fullmatch(text) is not None


def load_function(text: str) -> UserFunction:
    """Runs a Python file and returns one of its functions. Only for files that the user named.

    The module is not entered into `sys.modules`: functions of it then travel to other processes by value.

    Raises:
        SpaceError: if the name is malformed, the file is missing or fails, or has no such function.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise SpaceError(f"{text!r} must have the form file.py:function.")
    path, name = Path(match["file"]).resolve(), match["function"]
    if not path.is_file():
        raise SpaceError(f"{text!r}: the file {str(path)!r} does not exist.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's code raises
        raise SpaceError(f"{text!r}: {path.name} fails with {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        there = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise SpaceError(f"{text!r}: {path.name} has no function {name!r}; it has: {', '.join(there) or 'none'}.")
    return UserFunction(path, name, hashlib.sha256(path.read_bytes()).hexdigest(), function)
