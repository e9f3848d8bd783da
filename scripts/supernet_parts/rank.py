"""Rank fidelity: whether inherited weights order networks as training alone does."""

import argparse
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from search_spaces import Architecture, ChoiceSpace, get_space
from supernet_parts.common import SHARED, cifar, rebatched, settings, share_of
from supernet_parts.judge import Judge
from supernet_parts.stages import Stages


def rank(options: argparse.Namespace, stages: Stages) -> dict[str, Any]:
    """Kendall tau between inherited and published accuracy over 300 random rows of NAS-Bench-Macro."""
    import pyarrow.parquet as pq
    from scipy.stats import kendalltau

    from supernets.params import Params
    from supernets.shared import init_shared

    data, space = cifar(options), get_space("nasbench_macro")
    assert isinstance(space, ChoiceSpace)
    # every block exactly once a step (FairNAS): three paths, one for each of a layer's choices
    fair = {"method": "single_path", "warm_epochs": 0, "random_subnets": 3, "sampling": "fair"}
    config = settings(options, **fair, **({} if options.quick else {"batch_size": 256, "peak_lr": 0.2}))
    config = rebatched(config, options.batch)
    params, seconds = stages.kept("macro", lambda: stages.train(space, data, config, "macro"))
    table = pq.read_table(SHARED / "bench" / "nasbench_macro.parquet").to_pydict()
    rows = np.random.default_rng(0).choice(len(table["arch"]), 4 if options.quick else 300, replace=False)
    archs = [space.parse(table["arch"][i]) for i in rows]
    judge = Judge(data, 32, config, calibration=600 if options.quick else 5000)

    def inherited(params: Params, archs: list[Architecture]) -> dict[str, float]:
        return {space.to_text(x): judge(params, space.network(x)) for x in archs}

    def few_shot(choices: tuple[int, ...]) -> dict[str, float]:
        """The networks that have these choices, of weights that go on with these choices only."""
        few, own = narrowed(space, choices), replace(config, epochs=options.split_epochs, peak_lr=config.peak_lr / 4)
        name, start = f"macro{choices}", {key: params[key] for key in init_shared(few, 0)}
        trained, _ = stages.train(few, data, own, name, start=start)
        stages.forget(name)
        return inherited(trained, [x for x in archs if of_split(space, x, len(choices)) == choices])

    every = list(np.ndindex((3,) * options.split)) if options.split else []
    few = {choices: stages(f"few-shot {choices}", partial(few_shot, choices)) for choices in share_of(options, every)}
    if len(few) < len(every):
        return {f"few-shot {choices}": values for choices, values in few.items()}
    kinds = {"one_shot": stages("inherited", partial(inherited, params, archs))}
    if few:
        kinds["few_shot"] = {text: accuracy for values in few.values() for text, accuracy in values.items()}
    found = {kind: [values[space.to_text(x)] for x in archs] for kind, values in kinds.items()}
    truth = [table["mean_acc"][i] for i in rows]
    others = {name: [table[name][i] for i in rows] for name in ("flops", "params", "acc1")}
    return {
        "tau": {name: float(kendalltau(values, truth)[0]) for name, values in found.items()},
        "rows": len(rows),
        "training_s": seconds,
        "epochs": config.epochs,
        "split": [layer + 1 for layer in splits(space)[: options.split]],
        "split_epochs": options.split_epochs,
        "inherited_range": {name: [min(values), max(values)] for name, values in found.items()},
        "tau_of": {name: float(kendalltau(values, truth)[0]) for name, values in others.items()},
        "asked": {"tau": 0.80},
    }


def splits(space: ChoiceSpace) -> list[int]:
    """The layers that make maps smaller, in order: everything after them works on what they pass on."""
    return [i for i, layer in enumerate(space.spec.layers) if layer.stride > 1]


def of_split(space: ChoiceSpace, x: Architecture, n: int) -> tuple[int, ...]:
    """A genotype's choices at the first `n` of these layers."""
    return tuple(int(x[i]) for i in splits(space)[:n])


def narrowed(space: ChoiceSpace, choices: tuple[int, ...]) -> ChoiceSpace:
    """The space with one choice at each of the first of these layers (Zhao et al., Few-shot NAS, ICML 2021)."""
    layers = list(space.spec.layers)
    for i, k in zip(splits(space), choices, strict=False):
        layers[i] = replace(layers[i], candidates=(layers[i].candidates[k],))
    spec = replace(space.spec, layers=tuple(layers))
    return ChoiceSpace(space.name, spec, space.options | {"choices": list(choices)})
