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
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Follow a running search in the browser, on this machine only, until Ctrl-C."),
    ] = False,
    port: Annotated[int, typer.Option("--port", help="For --serve; 0 takes a free one.", min=0, max=65535)] = 8642,
    json: Json = False,
) -> None:
    """Write one self-contained HTML page: the front, its networks' layers, and the conditions of every number.

    Example: nas report runs/c10 --picture front.png
    """
    if serve:
        from nas.report.live import serve as serve_live

        serve_live(run, port, lambda url: emit_json({"url": url}) if json else print(url, flush=True))
        return
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
