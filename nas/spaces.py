"""A search space as the command line names it: `ofa_mbv3` with options, a designed one, or that of a run."""

from collections.abc import Sequence
from pathlib import Path

from nas.errors import UserError
from nas.runs import Run
from search_spaces import SPACES, Space, designed_file, get_space, space_parameters


def open_space(name: str, options: Sequence[str] = ()) -> Space:
    """The space of that name with `key=value` options, a designed one, or the space of the run in that folder.

    Raises:
        UserError: if an option is malformed; `SpaceError` if the space or an option is unknown.
    """
    if name not in SPACES and (Path(name) / "config.json").exists():
        if options:
            raise UserError(
                f"Options {list(options)} do not go with run {name!r}, whose space is fixed; leave them out."
            )
        return Run.open(Path(name)).space
    return get_space(name, **parse_options(name, options))


def is_named(space: Space, name: str) -> bool:
    """Whether a name on the command line means a space, with whatever options; of a designed one those that it is."""
    if designed_file(name) is None:
        return name == space.reference
    made = get_space(name)
    return made.name == space.name and all(
        made.options.get(key) == space.options.get(key) for key in ("blocks", "windows")
    )


def parse_options(name: str, options: Sequence[str]) -> dict[str, object]:
    """Values of `key=value` texts; a list of whole numbers is written 128,160."""
    parsed: dict[str, object] = {}
    for text in options:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UserError(f"Option {text!r} must look like key=value, e.g. -o width=1.2.")
        parsed[key] = _value(name, key, value)
    return parsed


def _value(name: str, key: str, text: str) -> object:
    parameters = space_parameters(name)
    default = parameters[key].default if key in parameters else None
    try:
        if isinstance(default, tuple):
            return tuple(int(part) for part in text.split(","))
        return type(default)(text) if isinstance(default, int | float) else text
    except ValueError as error:
        kind = "whole numbers joined by commas" if isinstance(default, tuple) else f"a {type(default).__name__}"
        raise UserError(
            f"Option {key} (={text!r}) of {name} must be {kind}, e.g. -o {key}={_example(default)}."
        ) from error


def _example(default: object) -> str:
    return ",".join(map(str, default[:2])) if isinstance(default, tuple) else str(default)


def option_texts(space: Space) -> list[str]:
    """The `-o key=value` arguments that make this space again, those at their default left out."""
    texts = []
    for key, parameter in space_parameters(space.reference).items():
        value = space.options[key]
        if value != parameter.default and value != list(
            parameter.default if isinstance(parameter.default, tuple) else ()
        ):
            texts.append(f"-o {key}={','.join(map(str, value)) if isinstance(value, list) else value}")
    return texts
