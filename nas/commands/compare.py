"""`nas compare`: searchers side by side on published ground truth."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nas.commands.options import Json, SpaceOptions
from nas.console import emit_json, print_table, progress


def compare(
    truth: Annotated[Path, typer.Option("--truth", help="Parquet file, a row an architecture.")],
    device: Annotated[str, typer.Option("--device", help="Column of the cost, e.g. raspi4_ms.")],
    space: Annotated[str, typer.Option("--space", help="A search space (see `nas spaces`).")] = "nasbench201",
    searchers: Annotated[
        str, typer.Option("--searchers", help="Joined by commas; random, params and macs are always in.")
    ] = "ehvi-zc,ehvi,linas,optuna-tpe,nsga2",
    seeds: Annotated[int, typer.Option("--seeds", help="Searches of each searcher.", min=1)] = 10,
    evaluations: Annotated[int, typer.Option("--evaluations", help="Of every search.", min=2)] = 500,
    learned: Annotated[bool, typer.Option("--learned", help="The cost must be learned, no table tells it.")] = False,
    accuracy: Annotated[str, typer.Option("--accuracy", help="Column of the accuracy in percent.")] = "c10_valid_200",
    test: Annotated[str | None, typer.Option("--test", help="Column of the test accuracy.")] = "c10_test_200",
    arch_column: Annotated[str, typer.Option("--arch-column", help="Column of the architectures.")] = "arch_str",
    processes: Annotated[int, typer.Option("--processes", help="Searches at a time.", min=1)] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="Writes compare.json and compare.html there.")] = None,
    option: SpaceOptions = None,
    json: Json = False,
) -> None:
    """Compare searchers where the truth is known: hypervolume against evaluations, mean and standard error.

    Example: nas compare --space nasbench201 --truth nasbench201.parquet --device raspi4_ms --seeds 10
    """
    from nas.compare import CompareSettings
    from nas.compare import compare as run
    from nas.compare_plot import write_comparison
    from nas.spaces import open_space
    from nas.truth import read_truth

    table = read_truth(
        open_space(space, option or ()), truth, cost=device, accuracy=accuracy, test=test, arch=arch_column
    )
    settings = CompareSettings(
        searchers=tuple(searchers.split(",")),
        seeds=seeds,
        evaluations=evaluations,
        known=not learned,
        processes=processes,
    )
    with progress(f"compare on {device}") as update:
        document = run(table, settings, update)
    if out is not None:
        write_comparison(document, out)
    if json:
        emit_json(document)
        return
    print_comparison(document)


def print_comparison(document: dict[str, Any]) -> None:
    """The table for a person."""
    targets = list(document["rows"][0]["evaluations_to"])
    print_table(
        f"{document['space']}, {document['cost']} {'known' if document['cost_known'] else 'learned'}: hypervolume at "
        f"{document['evaluations']} evaluations (1 = exact front), {document['seeds']} seeds; "
        "median evaluations (share of seeds) to a hypervolume",
        ("searcher", "hypervolume", "s.e.", *(f"to {t}" for t in targets), "regret %", "seconds"),
        [comparison_row(row, targets) for row in document["rows"]],
    )


def comparison_row(row: dict[str, Any], targets: list[str]) -> tuple[str, ...]:
    """Cells of one searcher."""
    error = row["standard_error"][-1]
    return (
        row["searcher"],
        f"{row['mean'][-1]:.4f}",
        "" if error is None else f"{error:.4f}",
        *(_reached(row["evaluations_to"][t]) for t in targets),
        "" if row["regret"] is None else f"{row['regret']:.2f}",
        f"{row['seconds']:.1f}",
    )


def _reached(target: dict[str, Any]) -> str:
    median = "never" if target["median"] is None else f"{target['median']:.0f}"
    return f"{median} ({100 * target['share']:.0f} %)"
