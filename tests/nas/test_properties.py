"""Properties of fronts and logs for whatever hypothesis thinks of; fronts against their definition."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas.errors import RunError
from nas.pareto import crowding, hypervolume, knee, pareto_front, ranks
from nas.search.log import EvaluationLog
from search_spaces import get_space

CASES = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
points = st.tuples(st.integers(1, 25), st.integers(2, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(0, 9).map(float))
)
SPACE = get_space("nasbench201")


def dominated(Y):
    """Bool `[n]`: some other point is nowhere worse and somewhere better. Straight from the definition."""
    return np.array([any((a <= b).all() and (a < b).any() for a in Y) for b in Y])


@CASES
@given(points)
def test_a_front_is_what_its_definition_says(Y):
    front = pareto_front(Y)
    assert {tuple(y) for y in Y[front]} == {tuple(y) for y in Y[~dominated(Y)]}
    assert len(front) == len({tuple(y) for y in Y[front]})
    assert (np.diff(Y[front, 0]) >= 0).all()
    assert (ranks(Y) == 0).tolist() == (~dominated(Y)).tolist()
    assert (crowding(Y[front]) >= 0).all()


@CASES
@given(points, st.data())
def test_hypervolume_counts_the_cells_below_the_reference(Y, data):
    m = Y.shape[1]
    reference = np.array(data.draw(st.lists(st.integers(0, 10), min_size=m, max_size=m)), dtype=float)
    cells = np.stack(np.meshgrid(*(np.arange(10),) * m, indexing="ij"), axis=-1).reshape(-1, m)
    inside = (cells < reference).all(axis=1)
    covered = (Y[:, None, :] <= cells[None, inside, :]).all(axis=2).any(axis=0)
    assert hypervolume(Y, reference) == pytest.approx(float(covered.sum()))
    assert hypervolume(Y[pareto_front(Y)], reference) == pytest.approx(hypervolume(Y, reference))


@CASES
@given(arrays(np.float64, (6, 2), elements=st.floats(0, 1e6)))
def test_the_knee_is_on_the_front_of_two_objectives(Y):
    front = Y[pareto_front(Y)]
    assert 0 <= knee(front) < len(front)


@CASES
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8), st.data())
def test_a_log_cut_anywhere_replays_its_beginning(tmp_path, values, data):
    path = tmp_path / "log.jsonl"
    path.unlink(missing_ok=True)
    X = SPACE.sample(np.random.default_rng(len(values)), len(values))
    log, ends = EvaluationLog(SPACE, ["error"], path, {"seed": 0}), []
    for x, value in zip(X, values, strict=True):
        log.append(x, [value])
        ends.append(path.stat().st_size)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    again = EvaluationLog(SPACE, ["error"], path, {"seed": 0})
    kept = again.replay(X)
    assert [value for (value,) in kept] == values[: sum(cut >= end for end in ends)]
    for x, value in list(zip(X, values, strict=True))[len(kept) :]:
        again.append(x, [value])
    assert path.read_bytes() == whole
    with pytest.raises(RunError, match="seed"):
        EvaluationLog(SPACE, ["error"], path, {"seed": 1})
