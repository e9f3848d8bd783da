"""Two devices against one, a process each."""

import argparse
import json
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces import MBConvSpace, Space
from supernet_parts.common import cifar, ofa_space, settings
from supernet_parts.stages import Stages

GROUPS = 2
ROW = "row.json"


def devices(options: argparse.Namespace, stages: Stages) -> dict[str, Any]:
    """Losses in single precision, then images a second, of the same training on one device and on two.

    Batches are in two groups that are normalised apart (`supernets.groups`), so that both compute the same.
    The rate of the exact one is small enough for a loss that falls: one that jumps multiplies any rounding.
    """
    if options.way:
        return one_training(options)
    from nas.errors import UserError
    from nas.processes import joined, run_joined

    def run(way: str, count: int) -> Any:
        own = [str(stages.out / f"{count} {way}"), *(["--quick"] if options.quick else [])]
        command = [sys.executable, sys.argv[0], "devices", "--way", way, "--batch", str(batches[way]), "--out", *own]
        if status := run_joined(joined(command, count) if count > 1 else [command]):
            raise SystemExit(status)
        row = json.loads(Path(own[0], ROW).read_text())
        stages.forget(f"{count} {way}")
        return row

    batches = {"exact": 64, "fast": 64} if options.quick else {"exact": 2048, "fast": options.batch or 8192}
    document: dict[str, Any] = {"batch": batches, "norm_groups": GROUPS}
    asked = {"speed_up": 1.85, "largest_difference": 1e-3}
    found: dict[str, list[Any]] = {"exact": [], "fast": []}
    try:
        for way, rows in found.items():
            for count in (1, 2):
                rows.append(stages(f"{count} {way}", partial(run, way, count)))
    except UserError as error:  # a host with one GPU
        document["left_out"] = str(error)
    shown = ("space", "devices", "step_ms", "images_per_s")
    document |= {"rows": [{key: row[key] for key in shown} for row in found["fast"]], "asked": asked}
    if len(found["fast"]) == 2:
        one, two = (np.array(row["losses"]) for row in found["exact"])
        gap = np.abs(one - two)
        document |= {
            "speed_up": found["fast"][1]["images_per_s"] / found["fast"][0]["images_per_s"],
            "largest_difference": float(gap.max()),
            "largest_relative_difference": float((gap / one).max()),
            "steps_compared": len(gap),
        }
    return document


def one_training(options: argparse.Namespace) -> dict[str, Any]:
    """One of the trainings, or a process of it; the first process leaves what was found in `--out`."""
    from supernets import train
    from supernets.placement import connect

    host = 0
    if options.hosts:
        address, count, index = options.hosts.split(",")
        host = connect(address, int(count), int(index))
    import jax

    data = cifar(options)
    space = between_its_ends(ofa_space(options, data))
    config = settings(options, warm_epochs=0, checkpoint_seconds=1e9, norm_groups=GROUPS, batch_size=options.batch)
    if options.way == "exact":
        config = replace(config, epochs=1, precision="fp32", random_subnets=0, peak_lr=0.02)
    else:
        config = replace(config, epochs=1 if options.quick else 8)
    ticks, losses = [], []

    def note(report: Any) -> None:
        ticks.append(time.perf_counter())
        losses.append(report.last)

    with jax.default_matmul_precision("highest" if options.way == "exact" else None):
        about = {"mean": data.mean, "std": data.std, "config": config, "folder": Path(options.out), "on_step": note}
        train(space, data.train_images, data.train_labels, **about)
    half = len(ticks) // 2
    seconds = (ticks[-1] - ticks[half]) / (len(ticks) - 1 - half)
    row = {"space": space.name, "devices": jax.process_count(), "step_ms": 1000 * seconds, "losses": losses}
    row["images_per_s"] = config.batch_size / seconds
    if host == 0:
        Path(options.out, ROW).write_text(json.dumps(row))
    return row


def between_its_ends(space: Space) -> Space:
    """Its largest and smallest networks and what shares their blocks: fewer links to compile, the same work a step."""
    assert isinstance(space, MBConvSpace)

    def ends(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(sorted({min(values), max(values)}))

    stages = [replace(s, kernels=ends(s.kernels), expands=ends(s.expands)) for s in space.spec.stages]
    name = f"{space.name} with the smallest and the largest kernels and expansions only"
    return MBConvSpace(name, replace(space.spec, stages=tuple(stages)), space.options)
