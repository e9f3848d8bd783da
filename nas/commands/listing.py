"""`nas spaces` and `nas devices`."""

from pathlib import Path
from typing import Annotated

import typer

from nas.commands.options import Json
from nas.console import emit_json, print_table


def spaces(
    trust: Annotated[
        Path | None,
        typer.Option("--trust", help="Allow runs whose own search space is this file; read it first.", exists=True),
    ] = None,
    json: Json = False,
) -> None:
    """List the search spaces, their sizes and options. A space of your own is named file.py:function.

    Example: nas spaces --json
    """
    from nas.own_spaces import trust as add_trust
    from search_spaces import SPACES, get_space

    if trust:
        digest = add_trust(trust)
        if json:
            emit_json({"trusted": str(trust), "sha256": digest})
        else:
            print(f"{trust} may run: SHA-256 {digest}")
        return

    rows = []
    for name in SPACES:
        space = get_space(name)
        summary = (SPACES[name].__doc__ or "").strip().splitlines()[0]
        rows.append(
            {"name": name, "size": space.size, "genes": len(space.genes), "options": space.options, "summary": summary}
        )
    if json:
        emit_json({"spaces": rows})
        return
    print_table(
        "Search spaces",
        ("name", "networks", "genes", "options", "what"),
        [(r["name"], f"{r['size']:.3g}", r["genes"], ", ".join(r["options"]), r["summary"]) for r in rows],  # type: ignore[arg-type]
    )


def devices(json: Json = False) -> None:
    """List the devices that can be profiled from here.

    A device is also any TOML file: name, provider, provider_options, threads, batch.

    Example: nas devices
    """
    from dataclasses import asdict

    from latency_tables.devices import built_in_devices

    rows = [asdict(device) for device in built_in_devices().values()]
    if json:
        emit_json({"devices": rows})
        return
    columns = ("name", "where", "provider", "threads", "batch", "precision")
    print_table("Devices", columns, [[row[c] for c in columns] for row in rows])
