"""Comparison on a made-up truth whose front is known, and on the published table where it is there."""

import json

import numpy as np
import pandas as pd
import pytest

from nas.compare import BASELINES, CompareSettings, compare, evaluations_to
from nas.errors import UserError
from nas.pareto import hypervolume
from nas.surrogate import Surrogate
from nas.truth import Truth, read_truth
from predictors.feature_groups import enumerate_space
from search_spaces import AdditiveCost, get_space
from search_spaces.mbconv import MBConvSpace


@pytest.fixture(scope="module")
def truth():
    from dataclasses import replace

    big = get_space("ofa_mbv3", width=0.25, num_classes=10, resolutions=(16,), stem_stride=1)
    stages = tuple(replace(s, depths=(1, 2), kernels=(3, 5), expands=(3, 6)) for s in big.spec.stages[:2])
    space = MBConvSpace("small", replace(big.spec, resolutions=(16,), stages=stages), {})
    X = enumerate_space(space)
    gain = space.one_hot(X) @ np.random.default_rng(0).random(space.cardinality.sum())
    Y = np.stack([60 - 5 * gain, [space.network(x).macs / 1e6 for x in X]], axis=1)
    return Truth(space, X, Y, Y[:, 0] + 1.0, "macs_m")


def test_enumeration_is_the_space(truth):
    space = truth.space
    assert len(truth.X) == space.size == len(np.unique(truth.X, axis=0))
    assert (space.canonical(truth.X) == truth.X).all()


def test_curve_is_the_hypervolume_of_every_prefix(truth, rng):
    Y = truth.Y[rng.choice(len(truth.Y), 40, replace=False)]
    expected = [hypervolume(Y[: i + 1], truth.reference) / truth.volume for i in range(40)]
    assert truth.curve(Y) == pytest.approx(expected)
    assert truth.curve(truth.Y)[-1] == pytest.approx(1.0)


def test_regret_of_everything_is_none(truth):
    assert truth.regret(truth.X) == 0.0
    assert truth.regret(truth.X[:3]) > 0.0


def test_baselines_are_always_in_and_rows_add_up(truth):
    document = compare(truth, CompareSettings(searchers=("nsga2",), seeds=2, evaluations=30))
    assert [row["searcher"] for row in document["rows"]] == ["nsga2", *BASELINES]
    json.dumps(document, allow_nan=False)
    for row in document["rows"]:
        assert len(row["mean"]) == 30 and (np.diff(row["mean"]) >= 0).all() and 0 < row["mean"][-1] <= 1 + 1e-9


def test_processes_change_nothing(truth):
    one = compare(truth, CompareSettings(searchers=("nsga2",), seeds=2, evaluations=20))
    two = compare(truth, CompareSettings(searchers=("nsga2",), seeds=2, evaluations=20, processes=2))
    assert [r["mean"] for r in one["rows"]] == [r["mean"] for r in two["rows"]]


def test_one_seed_has_no_standard_error(truth):
    document = compare(truth, CompareSettings(searchers=("nsga2",), seeds=1, evaluations=20))
    json.dumps(document, allow_nan=False)
    assert {error for row in document["rows"] for error in row["standard_error"]} == {None}


def test_evaluations_to():
    assert evaluations_to(np.array([0.1, 0.5, 0.9]), 0.5) == 2.0
    assert evaluations_to(np.array([0.1]), 0.5) == np.inf


def test_wrong_column_is_named(truth, tmp_path):
    file = tmp_path / "truth.parquet"
    pd.DataFrame({"arch": [truth.space.to_text(x) for x in truth.X], "acc": 50.0, "ms": 1.0}).to_parquet(file)
    columns = {"accuracy": "acc", "test": None, "arch": "arch"}
    assert len(read_truth(truth.space, file, cost="ms", **columns).X) == len(truth.X)
    with pytest.raises(UserError, match=r"--device \(='mj'\) must be a column"):
        read_truth(truth.space, file, cost="mj", **columns)


def test_published_fronts(shared_bench):
    space = get_space("nasbench201")
    file = shared_bench / "nasbench201.parquet"
    table = read_truth(space, file, cost="raspi4_ms", accuracy="c10_valid_200", test="c10_test_200", arch="arch_str")
    assert len(table.index) == space.size == 15_625
    assert table.curve(table.Y[np.lexsort(table.Y.T)][:500])[-1] < 1.0


def test_surrogate_is_compared_like_a_table():
    space = get_space("ofa_mbv3", width=0.25, num_classes=10, resolutions=16, stem_stride=1)
    costs = AdditiveCost(space, lambda op: [op.macs])
    surrogate = Surrogate(
        space,
        lambda X: 50.0 - space.one_hot(X).sum(axis=1) - X.sum(axis=1) / 10,
        lambda X: costs(X)[:, 0],
        "macs",
        seeds=2,
        population=50,
        generations=40,
    )
    document = compare(surrogate, CompareSettings(searchers=("nsga2",), seeds=2, evaluations=40, targets=(0.5,)))
    rows = {row["searcher"]: row for row in document["rows"]}
    assert surrogate.curve(surrogate.front)[-1] == pytest.approx(1.0)
    assert 0 < rows["nsga2"]["mean"][-1] < 1 and rows["random"]["regret"] is None
