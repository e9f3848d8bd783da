"""`nas retrain` and `nas eval`: single architectures of a run."""

from typing import Annotated

import typer

from nas.commands.options import Json, RunFolder, Seed
from nas.console import emit_json, print_table


def retrain(
    run: RunFolder,
    arch: Annotated[list[str] | None, typer.Option("--arch", help="Text of an architecture; may be repeated.")] = None,
    sampled: Annotated[
        int | None,
        typer.Option(
            "--sampled",
            help="After --method proxyless or fbnet: its most probable network, and so many of those it sampled.",
            min=0,
        ),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1)] = 30,
    batch_size: Annotated[int, typer.Option("--batch-size", min=2)] = 128,
    lr: Annotated[float, typer.Option("--lr", help="Peak learning rate.")] = 0.1,
    inherit: Annotated[bool, typer.Option("--inherit", help="Start from the supernet's weights.")] = False,
    distill: Annotated[bool, typer.Option("--distill", help="Learn from the largest network as well.")] = False,
    precision: Annotated[str, typer.Option("--precision", help="fp32 or bf16.")] = "fp32",
    ema: Annotated[float, typer.Option("--ema", help="Decay of an average of the weights.")] = 0.0,
    devices: Annotated[int | None, typer.Option("--devices", help="Accelerators to divide a batch over.")] = None,
    workers: Annotated[
        int, typer.Option("--workers", help="Processes that decode streamed pictures; 0 for threads.", min=0)
    ] = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Train architectures of a run, each on its own. Interrupted, it continues when run again.

    Of several, the one with the best accuracy on the validation images is named.

    Example: nas retrain runs/c10 --arch r32_d2-k3e3-k3e3_... --epochs 30 --inherit --distill
    """
    from nas.errors import UserError
    from nas.retrain_run import retrain as run_it
    from nas.retrain_run import searched
    from supernets import TrainConfig

    texts = list(arch or ()) + (searched(run, sampled) if sampled is not None else [])
    if not texts:
        raise UserError("nas retrain needs an architecture: give --arch TEXT, or --sampled N after a search.")
    config = TrainConfig(
        method="scratch",
        arch=texts[0],
        epochs=epochs,
        warm_epochs=0,
        batch_size=batch_size,
        peak_lr=lr,
        precision=precision,  # type: ignore[arg-type]
        ema=ema,
        seed=seed,
    )
    how = {"inherit": inherit, "teach": distill, "devices": devices, "workers": workers}
    cards = [run_it(run, text, config, **how) for text in dict.fromkeys(texts)]  # type: ignore[arg-type]
    best = max(cards, key=lambda card: card["accuracy_validation"])
    if json:
        emit_json(cards[0] if len(cards) == 1 else {"networks": cards, "best": best})
        return
    for card in cards:
        print(f"{card['accuracy']:.2f} % of {card['test_images']} test images: {card['path']}")
    if len(cards) > 1:
        print(f"best on the validation images: {best['arch']}")


def evaluate(
    run: RunFolder,
    arch: Annotated[list[str], typer.Option("--arch", help="Text of an architecture; may be repeated.")],
    json: Json = False,
) -> None:
    """Test accuracy of architectures with the weights of the run, recalibrated.

    Example: nas eval runs/c10 --arch r32_d2-k3e3-k3e3_...
    """
    from nas.retrain_run import evaluate as run_it

    rows = run_it(run, arch)
    if json:
        emit_json({"networks": rows})
        return
    columns = ("arch", "accuracy", "accuracy_validation", "macs", "params")
    print_table("Accuracy %, inherited weights", columns, [[row[column] for column in columns] for row in rows])
