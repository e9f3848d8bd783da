"""Fronts and hypervolume against brute force and against pymoo."""

import numpy as np
import pytest
from pymoo.indicators.hv import HV

from nas.pareto import crowding, hypervolume, knee, pareto_front, ranks


def brute_force_front(Y):
    dominated = [any((y <= x).all() and (y < x).any() for y in Y) for x in Y]
    return {tuple(y) for y, d in zip(Y, dominated, strict=True) if not d}


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_front_equals_brute_force(rng, m):
    Y = rng.integers(0, 6, size=(80, m)).astype(float)  # integers: ties and duplicates
    front = pareto_front(Y)
    assert {tuple(y) for y in Y[front]} == brute_force_front(Y)
    assert len(front) == len(brute_force_front(Y))
    assert (np.diff(Y[front, 0]) >= 0).all()


@pytest.mark.parametrize("m", [2, 3])
def test_hypervolume_equals_pymoo(rng, m):
    Y = rng.random((50, m)) * 1.3
    assert hypervolume(Y, np.ones(m)) == pytest.approx(HV(np.ones(m))(Y[(Y < 1).all(axis=1)]))


def test_hypervolume_in_closed_form():
    assert hypervolume([[1.0, 2.0], [2.0, 1.0]], [3.0, 3.0]) == pytest.approx(3.0)
    assert hypervolume([[4.0, 1.0]], [3.0, 3.0]) == 0.0
    assert hypervolume(np.zeros((0, 2)), [1.0, 1.0]) == 0.0


def test_ranks_peel_fronts(rng):
    Y = rng.random((60, 2))
    left, rank = np.arange(60), ranks(Y)
    for f in range(rank.max() + 1):
        front = left[pareto_front(Y[left])]
        assert set(front) == set(np.flatnonzero(rank == f))
        left = np.setdiff1d(left, front)


def test_crowding_and_knee():
    Y = np.array([[0.0, 4.0], [1.0, 1.0], [2.0, 0.9], [4.0, 0.0]])
    assert crowding(Y).tolist() == pytest.approx([np.inf, 0.5 + 3.1 / 4, 0.75 + 0.25, np.inf])
    assert knee(Y) == 1
