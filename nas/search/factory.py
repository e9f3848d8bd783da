"""Searchers by name."""

from collections.abc import Callable
from typing import Any

from nas.errors import UserError
from nas.search.base import Searcher
from search_spaces import Space


def _random(space: Space, **options: Any) -> Searcher:
    from nas.search.random import RandomSearcher

    return RandomSearcher(space, **options)


def _nsga2(space: Space, **options: Any) -> Searcher:
    from nas.search.nsga2 import NSGA2

    return NSGA2(space, **options)


def _linas(space: Space, **options: Any) -> Searcher:
    from nas.search.linas import Linas

    return Linas(space, **options)


def _optuna(sampler: str) -> Callable[..., Searcher]:
    def make(space: Space, **options: Any) -> Searcher:
        from nas.search.optuna_searcher import OptunaSearcher

        return OptunaSearcher(space, sampler=sampler, **options)

    return make


# functions, because each module is imported only when its searcher is used
SEARCHERS: dict[str, Callable[..., Searcher]] = {
    "linas": _linas,
    "nsga2": _nsga2,
    "random": _random,
    "optuna-tpe": _optuna("tpe"),
    "optuna-nsga2": _optuna("nsga2"),
}


def make_searcher(name: str, space: Space, *, num_objectives: int = 2, seed: int = 0, **options: Any) -> Searcher:
    """A searcher by name.

    Args:
        name: One of `SEARCHERS`.
        space: Where to search.
        num_objectives: Columns of the `Y` that will be told; all are minimised.
        seed: Of every random choice.
        **options: `limits` (largest value by objective), `known` (functions of genotypes for objectives
            that need no measuring), and the searcher's own options.

    Raises:
        UserError: if the name is unknown.
    """
    if name not in SEARCHERS:
        raise UserError(f"Searcher {name!r} is unknown; choose one of: {', '.join(SEARCHERS)}.")
    return SEARCHERS[name](space, num_objectives=num_objectives, seed=seed, **options)
