"""Sensitivities of a file's operators: its Hessian and its quantised variants, evaluated."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nas.console import progress
from nas.precision.sensitivity import Sensitivity, costs_beside, rounded_blocks
from nas.precision.trial import Trial

_HESSIAN_IMAGES = 32
_PROBES, _ENOUGH = (4, 16), 0.1  # for an order, and operators differ by factors
_DIVERGENCE_IMAGES = 256


def sensitivities(path: Path, whole: Path, trial: Trial, order: str, seed: int) -> dict[str, Sensitivity]:
    """Of every operator by itself, as far as an order needs them.

    Args:
        path: The fp32 file.
        whole: The file with all operators quantised.
        trial: To try others.
        order: One of `ORDERS`.
        seed: Of probes.
    """
    if order == "random":
        return {op.name: Sensitivity(float("nan")) for op in trial.network}
    return {name: Sensitivity(value) for name, value in _hessian(path, whole, trial, seed).items()}


def beside_others(known: Mapping[str, Sensitivity], trial: Trial, chosen: Sequence[str]) -> dict[str, Sensitivity]:
    """Sensitivities with what every operator costs beside a set of them, on training images."""
    images = trial.pictures.calibration[:_DIVERGENCE_IMAGES]
    exact = trial.outputs((), images)
    with progress("dependencies") as update:
        found = costs_beside(
            [*known],
            chosen,
            lambda operators: divergence(exact, trial.outputs(operators, images)) if operators else 0.0,
            lambda done: update(done, len(known), ""),
        )
    return {name: replace(known[name], beside=found[name]) for name in known}


def _hessian(path: Path, whole: Path, trial: Trial, seed: int) -> dict[str, float]:
    import onnx

    from latency_tables.rounding_errors import constants, rounding_errors
    from nas.precision.differentiable import divergence_of_file
    from supernets.hessian import block_traces

    model = onnx.load(path)
    image_step, errors = rounding_errors(model, onnx.load(whole), trial.network)
    loss, point, _ = divergence_of_file(trial.network, constants(model), trial.pictures.calibration[:_HESSIAN_IMAGES])
    blocks = rounded_blocks(trial.network, image_step, errors)
    with progress("Hessian") as update:
        traces = block_traces(
            loss,
            point,
            blocks,
            seed=seed,
            probes=_PROBES,
            tolerance=_ENOUGH,
            on_block=lambda done: update(done, len(blocks), ""),
        )
    return {name: trace.mean / 2 for name, trace in traces.items()}


def divergence(exact: np.ndarray, outputs: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence of one file's answers from another's, logits `[n, classes]` each."""
    p, q = (y.astype(np.float64) - np.logaddexp.reduce(y.astype(np.float64), axis=1)[:, None] for y in (exact, outputs))
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())
