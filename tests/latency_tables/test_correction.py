"""The correction recovers additive costs; held-out errors mean what they say."""

import numpy as np

from latency_tables.correction import fit_correction, held_out_errors


def test_biased_kernel_times_are_corrected(rng):
    keys = [f"{kind}_c{i}" for kind in ("conv", "dw", "scale") for i in range(20)]
    true = rng.uniform(0.02, 0.2, len(keys))
    bias = np.repeat([0.8, 1.5, 1.0], 20) * rng.lognormal(0, 0.1, len(keys))  # by kind, and each its own
    counts = rng.integers(0, 3, (120, len(keys))).astype(float)
    network_ms = (0.1 + counts @ true) * rng.lognormal(0, 0.005, 120)
    fit = fit_correction(keys, true * bias + 0.01, counts[:80], network_ms[:80])
    predicted = fit.constant_ms + counts[80:] @ fit.cost_ms
    raw = fit.scale * (counts[80:] @ (true * bias + 0.01))
    errors, before = (held_out_errors(p, network_ms[80:]) for p in (predicted, raw))
    assert errors["mean_error"] < 0.02 < before["mean_error"]
    assert errors["within_5"] > 0.95 and errors["spearman"] > 0.98
    assert (fit.cost_ms > 0).all()


def test_held_out_interval_covers(rng):
    predicted = rng.uniform(1, 2, 400)
    measured = predicted * rng.lognormal(0, 0.05, 400)
    errors = held_out_errors(predicted[:200], measured[:200])
    ratio = measured[200:] / predicted[200:]
    assert 0.85 <= ((ratio >= errors["low"]) & (ratio <= errors["high"])).mean() <= 0.96
    few = held_out_errors(predicted[:4], measured[:4])
    assert few["low"] <= few["high"]
