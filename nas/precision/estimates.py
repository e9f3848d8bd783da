"""Sensitivities of a file's operators: its Hessian and its quantised variants, evaluated."""

from pathlib import Path

import numpy as np

from nas.console import progress
from nas.precision.sensitivity import Sensitivity, interactions, rounded_blocks
from nas.precision.trial import Trial, batched

_HESSIAN_IMAGES = 32
_PROBES, _ENOUGH = (4, 16), 0.1  # for an order, and operators differ by factors
_DIVERGENCE_IMAGES = 128


def sensitivities(path: Path, whole: Path, trial: Trial, order: str, seed: int) -> dict[str, Sensitivity]:
    """Of every operator, as far as an order needs them.

    Args:
        path: The fp32 file.
        whole: The file with all operators quantised.
        trial: To try others.
        order: One of `ORDERS`.
        seed: Of probes.
    """
    names = [op.name for op in trial.network]
    if order == "random":
        return {name: Sensitivity(float("nan")) for name in names}
    hessian = _hessian(path, whole, trial, seed)
    if order == "hessian":
        return {name: Sensitivity(value) for name, value in hessian.items()}
    images = trial.pictures.calibration[:_DIVERGENCE_IMAGES]
    exact = batched(path, images)
    with progress("dependencies") as update:
        between = interactions(
            names,
            lambda chosen: divergence(exact, trial.outputs(chosen, images) if chosen else exact),
            lambda done: update(done, len(names), ""),
        )
    return {name: Sensitivity(hessian[name], between[name]) for name in names}


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
