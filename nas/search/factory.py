"""Searchers by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from nas.errors import UserError
from nas.search.base import Searcher
from search_spaces import Space

DEFAULT = "ehvi"


@dataclass(frozen=True)
class _Entry:
    """Where a searcher lives; its module is imported only when it is used."""

    module: str
    name: str
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)


SEARCHERS: dict[str, _Entry] = {
    "ehvi": _Entry("ehvi", "EHVI", "Gaussian processes and expected hypervolume improvement"),
    "ehvi-zc": _Entry("ehvi", "EHVI", "the same with zero-cost scores as inputs (small spaces)", {"zero_cost": True}),
    "linas": _Entry("linas", "Linas", "NSGA-II on predictors that are refitted as it goes (DyNAS-T)"),
    "nsga2": _Entry("nsga2", "NSGA2", "evolution by non-domination and crowding"),
    "nsga3": _Entry("nsga3", "NSGA3", "evolution by non-domination and reference directions"),
    "aging": _Entry("evolution", "AgingEvolution", "regularised evolution"),
    "ofa": _Entry("evolution", "OFAEvolution", "Once-for-All's constrained evolution"),
    "mnasnet": _Entry("evolution", "MnasNet", "regularised evolution of MnasNet's reward"),
    "sensitivity": _Entry("sensitivity", "Sensitivity", "FastNAS-like thresholds on single changes"),
    "netadapt": _Entry("sensitivity", "NetAdapt", "greedy shrinking of the largest network"),
    "optuna-tpe": _Entry("optuna_searcher", "OptunaSearcher", "Optuna's TPE", {"sampler": "tpe"}),
    "optuna-nsga2": _Entry("optuna_searcher", "OptunaSearcher", "Optuna's NSGA-II", {"sampler": "nsga2"}),
    "optuna-gp": _Entry("optuna_searcher", "OptunaSearcher", "Optuna's GP (needs torch)", {"sampler": "gp"}),
    "params": _Entry("proxy", "ProxySearcher", "baseline: parameters instead of accuracy", {"proxy": "params"}),
    "macs": _Entry("proxy", "ProxySearcher", "baseline: MACs instead of accuracy", {"proxy": "macs"}),
    "random": _Entry("random", "RandomSearcher", "baseline"),
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
    entry = SEARCHERS[name]
    make = getattr(import_module(f"nas.search.{entry.module}"), entry.name)
    return make(space, num_objectives=num_objectives, seed=seed, **{**entry.options, **options})
