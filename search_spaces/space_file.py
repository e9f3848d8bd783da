"""A built-in space and its options, kept in a folder: what `nas design-space` writes. It holds no code."""

import json
from pathlib import Path

from search_spaces.errors import SpaceError

SPACE_FILE = "space.json"


def designed_file(name: str) -> Path | None:
    """The file of a designed space, where a name is a folder that has one, or the file; None for other names."""
    from search_spaces import SPACES

    path = Path(name) / SPACE_FILE if Path(name).is_dir() else Path(name)
    return path if name not in SPACES and path.name == SPACE_FILE and path.is_file() else None


def read_space_file(path: Path) -> tuple[str, dict[str, object]]:
    """Name and options of a built-in space.

    Raises:
        SpaceError: if the file is damaged.
    """
    from search_spaces import SPACES

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        name, options = document["name"], document["options"]
        if name not in SPACES or not isinstance(options, dict):
            raise ValueError(f"{name!r} with options {options!r} is no built-in space")
        SPACES[name](**options)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SpaceError(f"{path} is damaged ({error}); run `nas design-space` again.") from error
    return name, options
