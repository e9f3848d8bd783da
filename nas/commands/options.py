"""Arguments and options that several subcommands share."""

from pathlib import Path
from typing import Annotated

import typer

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
