"""Arguments and options that several subcommands share."""

from collections.abc import Container
from pathlib import Path
from typing import Annotated

import typer

from nas.errors import UserError

SpaceName = Annotated[str, typer.Argument(help="A search space (see `nas spaces`) or a run folder.", metavar="SPACE")]
SpaceOptions = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="Option of the space, key=value; may be repeated.", metavar="KEY=VALUE"),
]
RunFolder = Annotated[Path, typer.Argument(help="A run folder made by `nas train`.", metavar="RUN")]
DeviceName = Annotated[str, typer.Option("--device", help="A device (see `nas devices`) or a .toml file.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, everything else on stderr.")]
Seed = Annotated[int, typer.Option("--seed", help="Of every random choice.", min=0)]
DEFAULT_DEVICE = "local-cpu-1t"


def refuse_others(context: typer.Context, taken: Container[str], why: str) -> None:
    """Refuses given options that would be dropped.

    Args:
        context: Of the command.
        taken: Names of the parameters that are not dropped.
        why: Why others would be.

    Raises:
        UserError: for the first of them.
    """
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name)
        if name not in taken and given is not None and given.name != "DEFAULT":
            option = "/".join(parameter.opts + parameter.secondary_opts)
            raise UserError(f"{why}: leave out {option}.")
