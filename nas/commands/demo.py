"""`nas demo`: the whole path on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from nas.commands.options import Json, Seed
from nas.console import duration, emit_json, say


def demo(
    out: Annotated[Path, typer.Option("--out", help="Run folder; continued if it is there already.")] = Path(
        "runs/demo"
    ),
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Profile this CPU, train a small supernet on Fashion-MNIST, search, export three networks, report.

    Takes about seven minutes on two cores. Interrupted, it continues when run again.

    Example: nas demo --out runs/demo
    """
    from nas.commands.export import print_cards
    from nas.commands.search import print_front
    from nas.demo import run_demo
    from nas.files import writable_folder

    document = run_demo(writable_folder(out), seed)
    if json:
        emit_json(document)
        return
    from nas.runs import Run

    print_front(Run.open(out).read_front("local-cpu-1t"))
    print_cards(document["exports"])
    seconds = document["seconds"]
    say(", ".join(f"{step} {duration(value)}" for step, value in seconds.items()))
    print(f"report {document['report']}\npicture {document['picture']}")
