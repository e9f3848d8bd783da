"""`nas train`: a supernet for a data set."""

from pathlib import Path
from typing import Annotated

import typer

from nas.commands.options import Json, Seed, SpaceOptions
from nas.console import emit_json


def train(
    space: Annotated[str, typer.Argument(help="A search space (see `nas spaces`).", metavar="SPACE")],
    out: Annotated[Path, typer.Option("--out", help="Run folder; continued if it is there already.")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="fashion-mnist-6k, a .npz file, an image folder, a .csv of paths, or a folder of Parquet files.",
        ),
    ] = "fashion-mnist-6k",
    size: Annotated[int | None, typer.Option("--size", help="Resize images to this many pixels.")] = None,
    validation: Annotated[
        int | None,
        typer.Option(
            "--validation", help="Training images kept for the search; a sixth by default, at most 1000.", min=1
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1)] = None,
    warm_epochs: Annotated[
        int | None, typer.Option("--warm-epochs", help="Of the largest network alone.", min=0)
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=2)] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
    random_subnets: Annotated[
        int | None, typer.Option("--random-subnets", help="Random subnets a step.", min=0)
    ] = None,
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="Leave out pictures that cannot be read (see `nas data check`).")
    ] = False,
    option: SpaceOptions = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Train a supernet that holds every network of a space. Interrupted, it continues when run again.

    Classes, channels and image size of the space follow the data unless given with -o.

    Example: nas train ofa_mbv3 --data cifar10/ --out runs/c10 -o width=0.5 --epochs 60
    """
    from nas.files import writable_folder
    from nas.lock import locked
    from nas.spaces import parse_options
    from nas.train_run import space_for, train_run
    from search_spaces import get_space
    from supernets.data import load_dataset

    options = parse_options(space, option or ())
    get_space(space, **options)  # refuses an unknown name before any work
    writable_folder(out)
    images = load_dataset(data, size=size, seed=seed, skip_corrupt=skip_corrupt)
    from supernets import TrainConfig

    given = {
        "epochs": epochs,
        "warm_epochs": warm_epochs if warm_epochs is not None or epochs is None else epochs // 3,
        "batch_size": batch_size,
        "peak_lr": lr,
        "random_subnets": random_subnets,
    }
    config = TrainConfig(seed=seed, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    chosen = space_for(space, images, options)
    held_out = validation or max(1, min(1000, len(images.train_images) // 6))
    with locked(out, "nas train"):
        document = train_run(
            out, chosen, images, data, config, validation=held_out, size=size, skip_corrupt=skip_corrupt
        )
    if json:
        emit_json(document)
        return
    print(document["run"])
