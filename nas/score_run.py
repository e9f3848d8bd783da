"""Scoring architectures without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.console import progress
from nas.errors import UserError
from nas.runs import Run
from nas.search.log import read_rows
from nas.train_run import recorded_data, space_for
from search_spaces import SPACES, Network, Space, get_space, space_parameters

if TYPE_CHECKING:
    from predictors.zero_cost import Scores
    from supernets.data import Dataset

DEFAULT_PROXIES = ("vote", "synflow", "jacov", "snip", "nwot", "params", "flops")
DEFAULT_DATA = "fashion-mnist-6k"
DEFAULT_BATCH = 64  # as published


def score_data(name: str, source: str | None, *, size: int | None, seed: int) -> "Dataset":
    """The images to score on: those named, else those of the run of that name, else the embedded ones."""
    from supernets.data import load_dataset

    if source is None and name not in SPACES and (Path(name) / "config.json").exists():
        return recorded_data(Run.open(Path(name)))
    return load_dataset(source or DEFAULT_DATA, size=size, seed=seed)


def scored_space(name: str, options: dict[str, object], data: "Dataset") -> Space:
    """The space of that name or run folder; classes, and where it has them channels and sizes, follow the data."""
    if name not in SPACES and (Path(name) / "config.json").exists():
        if options:
            raise UserError(f"Options {sorted(options)} do not go with run {name!r}, whose space is fixed.")
        return Run.open(Path(name)).space
    if "resolutions" in space_parameters(name):
        return space_for(name, data, options)
    get_space(name, **options)  # refuses an unknown name or option
    classes = {"num_classes": data.num_classes} if "num_classes" in space_parameters(name) else {}
    return get_space(name, **classes | options)


def read_archs(path: Path, space: Space) -> np.ndarray:
    """Genotypes `[n, genes]` of a file with one architecture text a line; empty lines do not count.

    Raises:
        UserError: naming the line that is no architecture of the space.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read architectures from {str(path)!r} ({error}); give a text file.") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(space.parse(line))
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {error}") from error
    if not rows:
        raise UserError(f"{str(path)!r} has no architectures; write one text a line, see `nas describe {space.name}`.")
    return np.array(rows, dtype=np.int64)


def evaluated_archs(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Genotypes `[n, genes]` that the searches of a run evaluated, each once, and their accuracies in percent `[n]`.

    Raises:
        UserError: if nothing was evaluated yet.
    """
    run = Run.open(folder)
    found = {
        row["arch"]: 100 - row["error"]
        for log in sorted((run.folder / "search").glob("*.jsonl"))
        for row in read_rows(log)
        if "error" in row
    }
    if len(found) < 2:
        raise UserError(f"--evaluated: no search of {str(folder)!r} has evaluated subnets; run `nas search {folder}`.")
    return np.array([run.space.parse(text) for text in found], dtype=np.int64), np.array(list(found.values()))


def check_proxies(names: Sequence[str]) -> tuple[str, ...]:
    """The names, if all are proxies."""
    from predictors.zero_cost.proxies import PROXIES

    if unknown := [name for name in names if name not in PROXIES]:
        raise UserError(f"Proxy {unknown[0]!r} is unknown; choose out of: {', '.join(PROXIES)}.")
    if not names:
        raise UserError(f"--proxies names none; choose out of: {', '.join(PROXIES)}.")
    return tuple(dict.fromkeys(names))


def score_population(
    space: Space, X: np.ndarray, proxies: Sequence[str], data: "Dataset", *, batch: int = DEFAULT_BATCH, seed: int = 0
) -> "Scores":
    """Scores genotypes `[n, genes]` on the training images of a data set.

    Networks of several resolutions are scored on the same images at their own size. Grey images
    are repeated for networks that take colour.
    """
    from predictors.zero_cost import Scores, ZeroCost
    from predictors.zero_cost.measures import vote
    from predictors.zero_cost.proxies import VOTERS, needed

    wanted = needed(tuple(proxies))
    count = batch * (2 if "zico" in wanted else 1)
    if count > len(data.train_images):
        raise UserError(f"{data.name} has {len(data.train_images)} training images, the proxies need {count}.")
    chosen = np.random.default_rng(seed).permutation(len(data.train_images))[:count]
    networks = [space.network(x) for x in X]
    sizes = np.array([network.size for network in networks])
    values = {name: np.zeros(len(X)) for name in wanted}
    failures = dict.fromkeys(proxies, 0)
    done = 0
    with progress(f"score {len(X)} architectures of {space.name}") as update:
        for size in np.unique(sizes):
            rows = np.flatnonzero(sizes == size)
            images = _images(data, chosen, int(size), networks[rows[0]])
            judge = ZeroCost(sorted(wanted), images, data.train_labels[chosen], batch=batch, seed=seed)

            def report(n: int, total: int, before: int = done) -> None:
                update(before + n, len(X), "")

            scores = judge.score([networks[i] for i in rows], report)
            for name in wanted:
                values[name][rows] = scores.values[name]
                failures[name] = failures.get(name, 0) + scores.failures[name]
            done += len(rows)
    if "vote" in proxies:
        values["vote"], failures["vote"] = vote([values[name] for name in VOTERS]), 0
    return Scores({p: values[p] for p in proxies}, {p: failures[p] for p in proxies})


def _images(data: "Dataset", chosen: np.ndarray, size: int, network: Network) -> np.ndarray:
    from supernets.images import prepare

    images = np.asarray(prepare(data.train_images[chosen], data.mean, data.std, size=size))
    if network.in_channels == 3 and data.channels == 1:
        return np.repeat(images, 3, axis=3)
    if network.in_channels != data.channels:
        raise UserError(f"{data.name} has {data.channels} channels, {network.name} takes {network.in_channels}.")
    return images


def score_document(
    space: Space,
    X: np.ndarray,
    scores: "Scores",
    data: "Dataset",
    batch: int,
    seed: int,
    accuracy: np.ndarray | None = None,
) -> dict[str, Any]:
    """What `nas score` prints: the scores in the order asked, and how they were made.

    With accuracies `[n]` each row holds its own, and each proxy its rank correlation with them.
    """
    from predictors.regression import rank_correlation
    from predictors.zero_cost.proxies import PROXIES

    def correlation(values: np.ndarray) -> dict[str, float]:
        return {} if accuracy is None else {"spearman": rank_correlation("spearman", values, accuracy)}

    return {
        "space": space.name,
        "data": data.name,
        "batch_size": batch,
        "seed": seed,
        "proxies": {
            name: {
                "formula": PROXIES[name].formula,
                "source": PROXIES[name].source,
                "cost": PROXIES[name].cost,
                "higher_is_better": PROXIES[name].higher_is_better,
                "failures": scores.failures[name],
                **correlation(values),
            }
            for name, values in scores.values.items()
        },
        "scores": [
            {
                "arch": space.to_text(x),
                **({} if accuracy is None else {"accuracy": float(accuracy[i])}),
                **{name: float(values[i]) for name, values in scores.values.items()},
            }
            for i, x in enumerate(X)
        ],
    }
