"""Writes docs/pages/reference/licences.md: what the run-time lock installs, and under which licences.

.venv/bin/python scripts/licences.py            writes the page
.venv/bin/python scripts/licences.py --check    exits 1 if it is out of date
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "run.txt"
PAGE = ROOT / "docs" / "pages" / "reference" / "licences.md"
HEAD = """# Licences

nas-platform is under the Apache License 2.0. The Fashion-MNIST subset in the package is under the MIT licence
(`supernets/data/NOTICE.md`). These packages are installed beside it, as their own metadata say; the page is
written by `scripts/licences.py`.

| package | version | licence |
|---|---|---|
"""
_LONGEST = 60  # some packages put the whole text of their licence where its name belongs


def licence(name: str) -> str:
    """A package's licence as it names it: its SPDX expression, else its classifier, else its short text."""
    about: dict[str, Any] = dict(metadata(name).json)
    if expression := about.get("license_expression"):
        return expression
    classified = [
        value.rpartition("::")[2].strip()
        for value in about.get("classifier", ())
        if value.startswith("License ::") and not value.endswith("OSI Approved")
    ]
    short = (about.get("license") or "").strip().splitlines()
    if classified:
        return ", ".join(classified)
    return short[0][:_LONGEST] if short else "not stated"


def page() -> str:
    """The page's text."""
    rows = []
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK.read_text(), re.M):
        try:
            rows.append(f"| {name} | {version} | {licence(name)} |")
        except PackageNotFoundError:
            continue  # of another platform
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(PAGE.read_text() != page())
    PAGE.write_text(page())
