"""Two devices against one."""

import argparse
import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from search_spaces import MBConvSpace, Space
from supernet_parts.common import cifar, ofa_space, settings
from supernet_parts.stages import Stages

GROUPS = 2


def devices(options: argparse.Namespace, stages: Stages) -> dict[str, Any]:
    """Losses in single precision, then images a second, of the same training on one device and on two.

    Batches are in two groups that are normalised apart (`supernets.groups`), so that both compute the same.
    The rate of the exact one is small enough for a loss that falls: one that jumps multiplies any rounding.
    """
    import jax

    data = cifar(options)
    space = between_its_ends(ofa_space(options, data))
    exact_batch, fast_batch = (64, 64) if options.quick else (2048, options.batch or 8192)

    def run(count: int, batch: int, **more: Any) -> dict[str, Any]:
        base = settings(options, warm_epochs=0, checkpoint_seconds=1e9, norm_groups=GROUPS)
        config = replace(base, batch_size=batch, **more)
        ticks, losses = [], []

        def note(report: Any) -> None:
            ticks.append(time.perf_counter())
            losses.append(report.last)

        stages.forget("devices")
        stages.train(space, data, config, "devices", on_step=note, devices=count)
        half = len(ticks) // 2
        seconds = (ticks[-1] - ticks[half]) / (len(ticks) - 1 - half)
        return {"devices": count, "step_ms": 1000 * seconds, "images_per_s": batch / seconds, "losses": losses}

    document: dict[str, Any] = {
        "space": space.name,
        "batch": {"exact": exact_batch, "fast": fast_batch},
        "norm_groups": GROUPS,
        "asked": {"speed_up": 1.85, "largest_difference": 1e-3},
    }
    counts = (1, 2) if jax.device_count() > 1 else (1,)
    with jax.default_matmul_precision("highest"):
        exact = [
            stages(
                f"{n} exact", partial(run, n, exact_batch, epochs=1, precision="fp32", random_subnets=0, peak_lr=0.02)
            )
            for n in counts
        ]
    fast = [stages(f"{n} fast", partial(run, n, fast_batch, epochs=1 if options.quick else 8)) for n in counts]
    document["rows"] = [{key: row[key] for key in ("devices", "step_ms", "images_per_s")} for row in fast]
    if len(counts) == 2:
        one, two = (np.array(row["losses"]) for row in exact)
        gap = np.abs(one - two)
        document |= {
            "speed_up": fast[1]["images_per_s"] / fast[0]["images_per_s"],
            "largest_difference": float(gap.max()),
            "largest_relative_difference": float((gap / one).max()),
            "steps_compared": len(gap),
        }
    return document


def between_its_ends(space: Space) -> Space:
    """Its largest and smallest networks and what shares their blocks: fewer links to compile, the same work a step."""
    assert isinstance(space, MBConvSpace)

    def ends(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(sorted({min(values), max(values)}))

    stages = [replace(s, kernels=ends(s.kernels), expands=ends(s.expands)) for s in space.spec.stages]
    name = f"{space.name} with the smallest and the largest kernels and expansions only"
    return MBConvSpace(name, replace(space.spec, stages=tuple(stages)), space.options)
