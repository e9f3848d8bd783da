"""`nas data`: looking a data set over before training on it."""

from pathlib import Path
from typing import Annotated

import typer

from nas.commands.options import Json
from nas.console import emit_json, print_table

data = typer.Typer(help="Look a data set over before training on it.", no_args_is_help=True)


@data.callback()
def _group() -> None:
    """Keeps `check` a subcommand although it is the only one."""


@data.command()
def check(
    source: Annotated[
        Path,
        typer.Argument(help="A folder of class folders or of Parquet, a .csv of paths, or a .npz.", metavar="DATA"),
    ],
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", help="Also a contact sheet: the first pictures of each class (.png, .jpg)."),
    ] = None,
    json: Json = False,
) -> None:
    """Count classes, sizes and kinds of pictures, and name every picture that cannot be read.

    Example: nas data check my-images --sheet sheet.png
    """
    from supernets.data.inspect import contact_sheet, inspect_pictures

    found = inspect_pictures(source)
    if sheet:
        contact_sheet(source, sheet)
    if json:
        emit_json(
            {
                "classes": found.classes, "sizes": found.sizes, "modes": found.modes, "corrupt": found.corrupt,
                "imbalance": found.imbalance if found.imbalance != float("inf") else None, "advice": found.advice,
                "sheet": str(sheet) if sheet else None,
            }
        )  # fmt: skip
    else:
        print_table("Classes", ("class", "pictures"), list(found.classes.items()))
        print_table("Sizes", ("pixels", "pictures"), list(found.sizes.items())[:10])
        print_table("Kinds", ("Pillow mode", "pictures"), list(found.modes.items()))
        for reason in found.corrupt.values():
            print(reason)
        for line in found.advice or ["Nothing to mend."]:
            print(line)
