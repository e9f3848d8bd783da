"""`nas runs`: the run folders below a folder, side by side, and what interrupted work left in them."""

from pathlib import Path
from typing import Annotated

import typer

from nas.commands.options import Json, RunFolder
from nas.console import emit_json, print_table

runs = typer.Typer(help="List, compare and clean run folders.", no_args_is_help=True)
_COLUMNS = ("run", "space", "data", "epochs", "device", "searcher", "evaluations", "on front", "best %", "fastest ms")


@runs.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Where to look, at any depth.")] = Path("runs"), json: Json = False
) -> None:
    """List the runs below a folder, a row for each searched device.

    Example: nas runs list runs
    """
    from nas.run_summary import find_runs, summary

    rows = [row for run in find_runs(folder) for row in summary(run)]
    if json:
        emit_json({"runs": rows})
        return
    print_table(f"Runs in {folder}", _COLUMNS, [["-" if row[c] is None else row[c] for c in _COLUMNS] for row in rows])


@runs.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Two or more run folders.", metavar="RUN RUN...")],
    device: Annotated[str, typer.Option("--device", help="Whose fronts to compare.")] = "local-cpu-1t",
    json: Json = False,
) -> None:
    """Compare runs: where their configurations differ, and the hypervolume of their measured fronts.

    Example: nas runs compare runs/a runs/b
    """
    from nas.errors import UserError
    from nas.run_summary import differences, front_volumes
    from nas.runs import Run

    if len(folders) < 2:
        raise UserError(f"RUN (={folders[0]}) is one run; a comparison needs at least two.")
    opened = [Run.open(folder) for folder in folders]
    names = [str(folder) for folder in folders]
    different, volumes = differences(opened), front_volumes(opened, device)
    if json:
        emit_json({"runs": names, "differences": different, "device": device, "fronts": volumes})
        return
    print_table("Configurations differ in", ("option", *names), [(key, *values) for key, values in different.items()])
    print_table(
        f"Measured fronts on {device}",
        ("run", "networks", "hypervolume", "most accurate %", "fastest ms"),
        [
            (name, v["networks"], f"{v['hypervolume']:.4g}", f"{v['accuracy']:.2f}", f"{v['fastest_ms']:.3f}")
            for name, v in zip(names, volumes, strict=True)
        ],
    )


@runs.command()
def clean(
    run: RunFolder,
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it they are only listed.")] = False,
    json: Json = False,
) -> None:
    """Remove what interrupted work left in a run: half-written files of processes that are gone. Results stay.

    Example: nas runs clean runs/c10 --yes
    """
    from nas.run_summary import leftovers
    from nas.runs import Run

    found = leftovers(Run.open(run).folder)
    for path in found if yes else ():
        path.unlink(missing_ok=True)
    if json:
        emit_json({"leftovers": [str(path) for path in found], "removed": yes})
        return
    for path in found:
        print(f"{'removed' if yes else 'would remove'} {path}")
    if not found:
        print("Nothing to clean.")


@runs.command()
def mlflow(
    run: RunFolder,
    uri: Annotated[str, typer.Option("--uri", help="Tracking server or database.")] = "sqlite:///mlflow.db",
    experiment: Annotated[str, typer.Option("--experiment", help="Made if need be.")] = "nas",
    json: Json = False,
) -> None:
    """Write a run to MLflow: configuration, losses, fronts, exports. Run again, it adds what is new.

    Example: nas runs mlflow runs/c10 --uri http://127.0.0.1:5000
    """
    from nas.runs import Run
    from nas.tracking import log_to_mlflow

    document = log_to_mlflow(Run.open(run), uri, experiment)
    if json:
        emit_json(document)
        return
    print(
        f"{uri}: run {document['run_id']} of experiment {experiment!r}, {document['metrics']} new values, "
        f"{document['artifacts']} files"
    )
