"""Writes `report.html`: data and drawing code in one file that opens offline."""

import json
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from nas.files import write_bytes
from nas.report.data import report_data

_SCRIPTS = ("chart.js", "plots.js", "network.js", "page.js")  # in the order they need each other


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
    return filled("page.html", f"{data['run']}: front of {data['config']['space']['name']}", data, _SCRIPTS)


def filled(template: str, title: str, data: dict[str, Any], scripts: tuple[str, ...]) -> str:
    """A page of this package that needs no other file.

    Args:
        template: Its file, with places for title, style, data and script.
        title: As text.
        data: What its script reads from the element `data`.
        scripts: Files of this package, in the order they need each other.
    """
    here = files("nas.report")
    return Template(here.joinpath(template).read_text()).substitute(
        title=escape(title),
        style=here.joinpath("page.css").read_text(),
        data=json.dumps(data).replace("</", "<\\/"),  # "</" would end the element early, whatever the data says
        script='"use strict";\n' + "".join(here.joinpath(name).read_text() for name in scripts),
    )
