"""Zero-cost scores of every network of a small space: what a search can know before its first evaluation."""

import json
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from predictors.zero_cost.score import ZeroCost
from search_spaces import Space, SpaceError, get_space

PRIOR = ("nwot", "jacov")  # one way forward and one back, no labels
SIZE, BATCH = 8, 16  # pixels and images: on noise, more of either ranks no better
_CHUNK = 100


def prior_scores(
    space: Space,
    rows: np.ndarray,
    *,
    processes: int = 1,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """Ranks of genotypes by each proxy of `PRIOR`, on Gaussian noise.

    Args:
        space: Made by `get_space`; where it has an `image_size`, its networks are built for `SIZE` pixels.
        rows: Genotypes `[n, genes]`.
        processes: That compute at a time; each is started afresh.
        report: Called with the number of genotypes done and all.

    Returns:
        `[n, 2]`, from 0 (worst) to 1; equal scores share their mean rank.

    Raises:
        ValueError: if the networks of the space read images of several sizes.
    """
    from scipy.stats import rankdata

    where = json.dumps([space.reference, _small(space)], sort_keys=True)
    parts = [rows[i : i + _CHUNK] for i in range(0, len(rows), _CHUNK)]
    found: list[np.ndarray] = []
    for scores in _mapped(where, parts, processes):
        found.append(scores)
        report(min(len(found) * _CHUNK, len(rows)), len(rows))
    scores = np.concatenate(found)
    return (rankdata(scores, axis=0) - 1.0) / max(1, len(rows) - 1)


def _small(space: Space) -> dict[str, object]:
    if "image_size" not in space.options:
        return space.options
    small = {**space.options, "image_size": SIZE}
    try:
        get_space(space.reference, **small)
    except SpaceError:
        return space.options
    return small


def _mapped(where: str, parts: list[np.ndarray], processes: int) -> Iterator[np.ndarray]:
    if processes == 1:
        yield from (_scores(where, part) for part in parts)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # JAX must not run before a fork, nor in one
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_scores, [where] * len(parts), parts)


def _scores(where: str, rows: np.ndarray) -> np.ndarray:
    """Scores `[n, 2]` of a part of the space; minus infinity where a network does not read its image."""
    space, judge = _judge(where)
    readable = space.reads_image(rows)
    networks = [space.network(row) for row in rows[readable]]
    scores = np.full((len(rows), len(PRIOR)), -np.inf)
    if networks:
        values = judge.score(networks).values
        scores[readable] = np.stack([values[name] for name in PRIOR], axis=1)
    return scores


@lru_cache(maxsize=1)
def _judge(where: str) -> tuple[Space, ZeroCost]:
    name, options = json.loads(where)
    space = get_space(name, **options)
    network = space.network(space.sample(np.random.default_rng(0), 1)[0])
    shape = (BATCH, network.size, network.size, network.in_channels)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return space, ZeroCost(PRIOR, images, np.arange(BATCH) % network.num_classes, batch=BATCH)
