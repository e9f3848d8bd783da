"""`nas doctor`: what works here."""

from nas.commands.options import Json
from nas.console import emit_json, print_table


def doctor(json: Json = False) -> None:
    """Say what is installed, which providers and devices work, and what will be slow here and why.

    Example: nas doctor
    """
    from dataclasses import asdict

    from nas.doctor import examine

    found = list(examine())
    if json:
        emit_json({"findings": [asdict(finding) for finding in found]})
        return
    print_table("This machine", ("what", "state", "detail"), [(f.what, f.state, f.detail) for f in found])
