"""The picture of a comparison: one self-contained HTML page."""

from pathlib import Path
from typing import Any

from nas.files import writable_folder, write_bytes, write_json
from nas.report.page import filled


def write_comparison(document: dict[str, Any], folder: Path) -> None:
    """Writes `compare.json` and `compare.html` into a folder."""
    writable_folder(folder)
    known = "known" if document["cost_known"] else "learned"
    title = (
        f"{document['space']}: error against {document['cost']} ({known}), {document['seeds']} seeds, mean and "
        "standard error"
    )
    write_json(folder / "compare.json", document)
    write_bytes(folder / "compare.html", filled("compare.html", title, document, ("chart.js",)).encode())
