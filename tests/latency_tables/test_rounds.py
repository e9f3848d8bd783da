"""Rounds cancel what the machine does to everyone."""

import numpy as np
import pytest

from latency_tables.device_side import _typical


def samples(rng, rounds=20, sessions=12):
    """Samples on a machine whose speed changes every few samples, and the truth."""
    true = rng.uniform(1, 10, sessions)
    orders = np.array([rng.permutation(sessions) for _ in range(rounds)])
    phase = np.repeat(rng.choice([1.0, 1.7], rounds * sessions // 30 + 1), 30)[: rounds * sessions]
    times = true[orders] * phase.reshape(rounds, sessions) * rng.lognormal(0, 0.003, (rounds, sessions))
    found = np.empty_like(times)
    np.put_along_axis(found, orders, times, axis=1)
    return found, orders, true


def test_phases_of_another_speed_are_cancelled(rng):
    found, orders, true = samples(rng)
    typical, errors = _typical(found, orders)
    ratio = typical / true
    assert (ratio / np.median(ratio)).std() < 0.01
    assert (errors / typical < 0.05).all()


def test_one_session_is_its_median(rng):
    found = rng.lognormal(0, 0.01, (11, 1))
    typical, _ = _typical(found, np.zeros((11, 1), dtype=int))
    assert typical[0] == pytest.approx(np.median(found))
