"""`nas report`: the HTML page of a run."""

from pathlib import Path
from typing import Annotated

import typer

from nas.commands.options import Json, RunFolder
from nas.console import emit_json


def report(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option("--out", help="HTML file; report.html in the run by default.")] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="Also the front as .png or .svg.")] = None,
    proxies: Annotated[
        bool, typer.Option("--proxies", help="RUN is a file of `nas score --json`: a page about these scores.")
    ] = False,
    json: Json = False,
) -> None:
    """Write one self-contained HTML page: the front, its networks' layers, and the conditions of every number.

    Example: nas report runs/c10 --picture front.png
    """
    if proxies:
        from nas.report.proxies import write_proxy_report

        page = {"report": str(write_proxy_report(run, out))}
        emit_json(page) if json else print(page["report"])
        return
    from nas.report.page import write_report
    from nas.report.picture import write_picture

    path = write_report(run, out)
    document = {"report": str(path)}
    if picture:
        document["picture"] = str(write_picture(run, picture))
    if json:
        emit_json(document)
        return
    for written in document.values():
        print(written)
