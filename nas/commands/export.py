"""`nas export`: networks of a front as ONNX files."""

from typing import Annotated, Any

import typer

from nas.commands.options import DEFAULT_DEVICE, Json, RunFolder
from nas.console import emit_json, print_table


def export(
    run: RunFolder,
    pick: Annotated[
        list[str],
        typer.Option(
            "--pick",
            help="fastest, knee, most_accurate, conditions like 'latency_ms<=5' or 'accuracy>=90', or an architecture; "
            "may be repeated.",
        ),
    ] = ["knee"],  # noqa: B006 - typer copies it
    device: Annotated[
        str | None, typer.Option("--device", help="Whose front; by default the last one searched.")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Also a statically quantised INT8 file of each.")] = False,
    pixels: Annotated[
        bool, typer.Option("--pixels", help="Also a file of each with the preprocessing inside: uint8 pixels in.")
    ] = False,
    mixed: Annotated[
        bool,
        typer.Option("--mixed", help="From the front of `nas search --precision mixed`: files of mixed precision."),
    ] = False,
    json: Json = False,
) -> None:
    """Export networks of the front: an ONNX file, checked against Flax and re-measured, and a JSON card.

    Example: nas export runs/c10 --pick 'latency_ms<=5' --pick fastest
    """
    from nas.errors import RunError, UserError
    from nas.export import export_picks
    from nas.runs import Run

    opened = Run.open(run)
    if mixed:
        from nas.mixed_export import export_mixed

        if int8 or pixels:
            raise UserError("--mixed files have their precision; leave out --int8 and --pixels.")
        cards = export_mixed(run, pick, device or DEFAULT_DEVICE)
        if json:
            emit_json({"exports": cards})
        else:
            print_cards(cards)
        return
    devices = [device] if device else opened.searched_devices
    if not devices:
        raise RunError(f"Run {str(run)!r} has no front yet; run `nas search {run}`.")
    cards = export_picks(run, pick, devices[0], int8=int8, pixels=pixels)
    if json:
        emit_json({"exports": cards})
        return
    print_cards(cards)


def print_cards(cards: list[dict[str, Any]]) -> None:
    """Exported networks for a person."""
    print_table(
        f"Exported, accuracy of the files themselves on {cards[0]['test_images']} test images",
        (
            "name",
            "accuracy %",
            "ms median",
            "ms p10-p90",
            "ms predicted",
            "M MACs",
            "k params",
            "KiB",
            "max |Flax - ORT|",
        ),
        [
            (
                card["name"],
                f"{card['accuracy']:.2f}",
                f"{card['latency_ms']['median']:.3f}",
                f"{card['latency_ms']['p10']:.3f}-{card['latency_ms']['p90']:.3f}",
                f"{card['predicted_latency_ms']:.3f}" if card["predicted_latency_ms"] else "-",
                f"{card['macs'] / 1e6:.2f}",
                f"{card['params'] / 1e3:.0f}",
                f"{card['file_bytes'] / 1024:.0f}",
                f"{card['max_abs_diff']:.1e}",
            )
            for card in cards
        ],
    )
    for card in cards:
        if card["meets_limit"] is False:
            print(
                f"{card['name']} does NOT meet the limit of {card['limit_ms']:g} ms: "
                f"measured {card['latency_ms']['median']:.3f} ms"
            )
        print(card["path"])
