"""Writes `report.html`: data, drawing code and Plotly itself in one file that opens offline."""

import json
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from nas.files import write_bytes
from nas.report.data import report_data

_SCRIPTS = ("plots.js", "network.js", "page.js")  # in the order they need each other


def write_report(folder: Path, out: Path | None = None) -> Path:
    """The report of a run.

    Args:
        folder: The run.
        out: The file; `report.html` in the run by default.

    Returns:
        Where it is.
    """
    path = out or folder / "report.html"
    write_bytes(path, page(report_data(folder)).encode())
    return path


def page(data: dict[str, Any]) -> str:
    """The page as text."""
    from plotly.offline import get_plotlyjs

    here = files("nas.report")
    # "</" would end the script element early, whatever the data says
    embedded = json.dumps(data).replace("</", "<\\/")
    return Template(here.joinpath("page.html").read_text()).substitute(
        title=_escape(f"{data['run']}: front of {data['config']['space']['name']}"),
        style=here.joinpath("page.css").read_text(),
        data=embedded,
        plotly=get_plotlyjs(),
        script='"use strict";\n' + "".join(here.joinpath(name).read_text() for name in _SCRIPTS),
    )


def _escape(text: str) -> str:
    from html import escape

    return escape(text)
