"""`nas score`: zero-cost proxies of architectures."""

from pathlib import Path
from typing import Annotated

import typer

from nas.commands.options import Json, Seed, SpaceName, SpaceOptions
from nas.console import emit_json, print_table
from nas.errors import UserError

_SHOWN = 20


def score(
    space: SpaceName,
    proxies: Annotated[
        str | None,
        typer.Option(
            "--proxies", help="Names joined by commas, or `all`; vote, its voters, nwot and sizes by default."
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", help="Random architectures.", min=1)] = 100,
    archs: Annotated[
        Path | None, typer.Option("--archs", help="Score these instead: a file, one architecture text a line.")
    ] = None,
    evaluated: Annotated[
        bool,
        typer.Option(
            "--evaluated",
            help="Score what the searches of the run SPACE evaluated, and say how each proxy ranks their accuracies.",
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="fashion-mnist-6k, a .npz file, an image folder, or a folder of Parquet files; "
            "a run's own by default.",
        ),
    ] = None,
    size: Annotated[int | None, typer.Option("--size", help="Resize images to this many pixels.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images; 64 as published.", min=2)] = 64,
    option: SpaceOptions = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Score architectures without training, by what their networks do at initialisation.

    A higher score promises a higher accuracy. Scores compare architectures of one space only.

    Example: nas score nasbench201 --proxies synflow,nwot --n 1000 --data cifar10/

    Example: nas score runs/c10 --evaluated --json > scores.json, then nas report --proxies scores.json
    """
    from nas.score_run import (
        DEFAULT_PROXIES,
        check_proxies,
        evaluated_archs,
        read_archs,
        score_data,
        score_document,
        score_population,
        scored_space,
    )
    from nas.spaces import parse_options
    from predictors.zero_cost.proxies import PROXIES
    from search_spaces import space_parameters

    if evaluated and archs:
        raise UserError("--evaluated and --archs both say what to score; give one of them.")
    if proxies is None:
        names: tuple[str, ...] = DEFAULT_PROXIES
    else:
        names = tuple(PROXIES) if proxies == "all" else check_proxies([p for p in proxies.split(",") if p])
    options = parse_options(space, option or ())
    if not Path(space).exists():
        space_parameters(space)  # says which there are, before any data is read
    images = score_data(space, data, size=size, seed=seed)
    chosen = scored_space(space, options, images)
    accuracy = None
    if evaluated:
        X, accuracy = evaluated_archs(Path(space))
    elif archs:
        X = read_archs(archs, chosen)
    else:
        import numpy as np

        X = chosen.sample(np.random.default_rng(seed), n)
    scores = score_population(chosen, X, names, images, batch=batch_size, seed=seed)
    document = score_document(chosen, X, scores, images, batch_size, seed, accuracy)
    if json:
        emit_json(document)
        return
    best = sorted(document["scores"], key=lambda row: -row[names[0]])
    print_table(
        f"{len(best)} architectures of {chosen.name} on {images.name}, by {names[0]}"
        + (f"; the best {_SHOWN}, --json has all" if len(best) > _SHOWN else ""),
        ("architecture", *names),
        [(row["arch"], *(f"{row[name]:.5g}" for name in names)) for row in best[:_SHOWN]],
    )
    if accuracy is not None:
        rows = [(name, f"{about['spearman']:.3f}") for name, about in document["proxies"].items()]
        print_table(f"Rank correlation with {len(X)} accuracies out of the supernet", ("proxy", "Spearman"), rows)
    for name, count in scores.failures.items():
        if count:
            print(f"{name}: {count} could not be computed and have the worst score found")
