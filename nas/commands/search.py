"""`nas search`: the Pareto front of a trained supernet on a device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from nas.commands.options import DEFAULT_DEVICE, DeviceName, Json, RunFolder, Seed, SpaceOptions
from nas.console import emit_json, print_table
from nas.errors import UserError


def search(
    run: RunFolder,
    device: DeviceName = DEFAULT_DEVICE,
    limit_ms: Annotated[
        float | None, typer.Option("--limit-ms", "--limit", help="Hard latency limit.", min=0.0)
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            help="Minimise this too: macs, params, size_bytes, size_bytes:int8, peak_memory_bytes, energy_mj (where "
            "the CPU reports it), latency:DEVICE (another device, or INT8), FILE.py:FUNCTION (yours, from a network "
            "to a number). May be repeated.",
            metavar="NAME",
        ),
    ] = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option("--at-most", help="Hard limit on such a cost, e.g. params=5e6. May be repeated.", metavar="N=V"),
    ] = None,
    searcher: Annotated[
        str,
        typer.Option(
            "--searcher",
            help="ehvi (Gaussian processes, expected hypervolume improvement), linas, nsga2, nsga3, aging, ofa, "
            "mnasnet, sensitivity, netadapt, optuna-tpe, optuna-nsga2, optuna-gp, params, macs, random.",
        ),
    ] = "ehvi",
    evaluations: Annotated[
        int, typer.Option("--evaluations", help="Subnets evaluated from the supernet.", min=4)
    ] = 160,
    batch: Annotated[int, typer.Option("--batch", help="Evaluations in flight at most.", min=1)] = 16,
    measured: Annotated[int, typer.Option("--measured", help="Networks re-measured at most.", min=3)] = 12,
    table: Annotated[Path | None, typer.Option("--table", help="Latency table; by default the one profiled.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Ray workers; 0 for none.", min=0)] = None,
    ray_address: Annotated[str | None, typer.Option("--ray-address", help="Ray cluster; local by default.")] = None,
    precision: Annotated[
        Literal["device", "mixed"],
        typer.Option("--precision", help="mixed: fp32 or INT8 for every operator, searched with the architecture."),
    ] = "device",
    accuracy: Annotated[
        Literal["supernet", "zero-cost"],
        typer.Option("--accuracy", help="zero-cost: no training at all; RUN is then a space or a run."),
    ] = "supernet",
    data: Annotated[
        str | None, typer.Option("--data", help="Images for --accuracy zero-cost; a run's own by default.")
    ] = None,
    option: SpaceOptions = None,
    storage: Annotated[str | None, typer.Option("--storage", help="Optuna storage URL; SQLite by default.")] = None,
    export: Annotated[
        list[str] | None,
        typer.Option("--export", help="Then export this network, as `nas export --pick`. May be repeated."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Forget an earlier search with these settings; or continue it.")
    ] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Search the front of accuracy and latency. Interrupted, it continues when run again.

    Every network that is reported has been measured whole on the device, in two passes; one that
    could break the limit when measured again is not reported as meeting it.

    Error and latency are always minimised; --objective and --at-most add costs, and latencies on
    other devices among them are measured there at the end too.

    With --precision mixed every operator also has genes for its bits and its weights' mode (SimQ-NAS); the accuracy is
    that of really quantised files, and the front goes to search/mixed-DEVICE.json.

    With --accuracy zero-cost nothing is trained: architectures are ranked by zero-cost proxies.

    Example: nas search runs/c10 --device local-cpu-1t --limit-ms 5 --export most_accurate

    Example: nas search runs/c10 --objective latency:local-cpu-1t-int8 --at-most params=5e6

    Example: nas search runs/c10 --precision mixed --objective size_bytes
    """
    if accuracy == "zero-cost":
        if precision == "mixed":
            raise UserError("--precision mixed needs a trained supernet, not --accuracy zero-cost.")
        if objective or at_most or export:
            raise UserError("--objective, --at-most and --export need a trained supernet, not --accuracy zero-cost.")
        zero_cost(run, device, limit_ms, evaluations, measured, table, data, option or (), seed, json)
        return
    from nas.costs import parse_limits
    from nas.lock import locked
    from nas.runs import Run
    from nas.search_run import SearchSettings

    settings = SearchSettings(
        device=device,
        limit_ms=limit_ms,
        objectives=tuple(objective or ()),
        limits=parse_limits(at_most or ()),
        searcher=searcher,
        evaluations=evaluations,
        batch=batch,
        measured=measured,
        workers=workers,
        ray_address=ray_address,
        storage=storage,
        seed=seed,
        fresh=fresh,
    )
    if precision == "mixed":
        from nas.mixed_export import export_mixed as export_picks
        from nas.mixed_search import mixed_search as search_run
    else:
        from nas.export import export_picks
        from nas.search_run import search_run
    with locked(Run.open(run).folder, "nas search", part=Path(device).stem):
        document = search_run(run, settings, table)
    cards = []
    if export:
        from nas.commands.export import print_cards

        cards = export_picks(run, export, document["device"])
    if json:
        emit_json(document | ({"exports": cards} if export else {}))
        return
    print_front(document)
    if export:
        print_cards(cards)


def zero_cost(
    run: Path,
    device: str,
    limit_ms: float | None,
    evaluations: int,
    measured: int,
    table: Path | None,
    data: str | None,
    option: Sequence[str],
    seed: int,
    json: bool,
) -> None:
    """The front of proxy vote and latency."""
    from nas.score_run import score_data, scored_space
    from nas.spaces import parse_options
    from nas.zero_cost_search import ZeroCostSettings, zero_cost_search

    images = score_data(str(run), data, size=None, seed=seed)
    space = scored_space(str(run), parse_options(str(run), option), images)
    settings = ZeroCostSettings(device, limit_ms, evaluations, measured=measured, seed=seed)
    document = zero_cost_search(space, images, settings, table)
    if json:
        emit_json(document)
        return
    print_table(
        f"Front on {document['device']} without training: {document['evaluations']} architectures scored on "
        f"{document['data']}",
        ("architecture", "vote %", "ms measured", "ms predicted", "M MACs", "k params"),
        [
            (
                entry["arch"],
                f"{entry['vote_percent']:.1f}",
                f"{entry['latency_ms']['median']:.3f}",
                f"{entry['predicted_latency_ms']['median']:.3f}",
                f"{entry['macs'] / 1e6:.2f}",
                f"{entry['params'] / 1e3:.0f}",
            )
            for entry in document["front"]
        ],
    )


def print_front(document: dict[str, Any]) -> None:
    """The front for a person."""
    limits = [f"{document['limit_ms']:g} ms"] if document["limit_ms"] is not None else []
    limits += [f"{name} {value:g}" for name, value in document["limits"].items()]
    costs = document["objectives"][2:]
    reference = ", ".join(
        f"{value:.4g} {unit}" for value, unit in zip(document["reference"], ("% error", "ms", *costs), strict=True)
    )
    print_table(
        f"Front on {document['device']}{', at most ' * bool(limits)}{', '.join(limits)}: {document['evaluations']} "
        f"evaluations, hypervolume {document['hypervolume']:.4g} (reference {reference})",
        ("architecture", "accuracy %", "ms measured", "ms predicted", "M MACs", "k params", *costs),
        [front_row(entry) for entry in document["front"]],
    )
    for entry in document["over_limit"]:
        ms = entry["latency_ms"]
        print(f"not surely below the limit ({ms['median']:.3f} ms, up to {ms['upper']:.3f}), left out: {entry['arch']}")


def front_row(entry: dict[str, Any]) -> tuple[str, ...]:
    """Cells of one network."""
    return (
        entry["arch"],
        f"{entry['accuracy']:.2f}",
        f"{entry['latency_ms']['median']:.3f}",
        f"{entry['predicted_latency_ms']['median']:.3f}",
        f"{entry['macs'] / 1e6:.2f}",
        f"{entry['params'] / 1e3:.0f}",
        *(f"{cost['value']:.4g}" for cost in entry.get("costs", {}).values()),
    )
