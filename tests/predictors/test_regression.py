"""Accuracy regression: one contract for every model, calibration, files, and ParZC."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from predictors.features import STATISTICS, features, network_statistics
from predictors.mlp import MLPRegressor
from predictors.models import MODELS, Flat, Mean
from predictors.parzc import ParZCRegressor, diff_kendall, scale_nodes, training_free
from predictors.regression import FeatureRegression, NormalScores
from search_spaces import get_space


@pytest.fixture(scope="module")
def table():
    """Skewed targets of a smooth function with a little noise."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (400, 5))
    y = 94 - np.exp(2 * X[:, 0] + X[:, 1] * X[:, 2]) + 0.1 * rng.normal(size=400)
    return X, y


@pytest.mark.parametrize("name", [n for n in MODELS if n not in ("mlp", "deep_ensemble", "parzc")])
def test_every_model_ranks_and_covers(name, table):
    X, y = table
    model = FeatureRegression(name).fit(X[:120], y[:120])
    assert model.fit(X[:120], y[:120]) is model
    predicted, ends = model.predict(X[120:]), model.predict_interval(X[120:])
    assert kendalltau(predicted, y[120:]).statistic > 0.6
    assert (ends[:, 0] <= predicted).all() and (predicted <= ends[:, 1]).all()
    assert 0.8 < np.mean((y[120:] >= ends[:, 0]) & (y[120:] <= ends[:, 1])) < 0.98
    report = model.report_
    assert report.n == 120 and report.rmse > 0 and 0.5 < report.kendall_tau < report.spearman <= 1
    assert report.regret[1] >= report.regret[10] >= 0


def test_mean_weighs_its_models(table):
    X, y = table

    class Constant:
        def __init__(self, value):
            self.value = value

        def fit(self, X, y):
            return self

        def predict(self, X):
            return np.full(len(X), self.value)

    models = [Flat(lambda: Constant(3.0)), Flat(lambda: Constant(9.0))]
    assert (Mean(*models).fit(X, y).predict(X) == 6).all()
    assert (Mean(*models, weights=(2, 1)).fit(X, y).predict(X) == 5).all()


def test_accuracies_of_twelve_epochs_tell_those_of_two_hundred(shared_bench):
    space = get_space("nasbench201")
    table = pd.read_parquet(shared_bench / "nasbench201.parquet").sample(400, random_state=0)
    X = np.array([space.parse(text) for text in table.arch_str])
    y, early = table.c10_test_200.to_numpy(float), table.c10_valid_12.to_numpy(float)[:, None]
    taus = []
    for extra in (None, early):
        F = features(space, X, extra)
        taus.append(kendalltau(FeatureRegression("gp").fit(F[:78], y[:78]).predict(F[78:]), y[78:]).statistic)
    assert taus[1] > taus[0] + 0.02


@pytest.mark.slow
def test_parzc_is_a_model_with_intervals(table):
    X, y = table
    model = FeatureRegression("parzc").fit(X[:120], y[:120])
    predicted, ends = model.predict(X[120:]), model.predict_interval(X[120:])
    assert kendalltau(predicted, y[120:]).statistic > 0.5
    assert 0.8 < np.mean((y[120:] >= ends[:, 0]) & (y[120:] <= ends[:, 1])) < 0.98


def test_ensemble_of_perceptrons(table):
    X, y = table
    z = (y - y.mean()) / y.std()
    model = MLPRegressor(width=64, members=3, steps=200).fit(X[:120], z[:120])
    assert kendalltau(model.predict(X[120:]), y[120:]).statistic > 0.6
    assert model.spread(X[120:]).min() > 0
    again = MLPRegressor(width=64, members=3, steps=200).fit(X[:120], z[:120])
    np.testing.assert_array_equal(model.predict(X), again.predict(X))


def test_saved_and_loaded_predicts_the_same(table, tmp_path):
    X, y = table
    model = FeatureRegression("gp", seed=3).fit(X[:60], y[:60])
    model.save(tmp_path / "model.npz")
    again = FeatureRegression.load(tmp_path / "model.npz")
    np.testing.assert_allclose(again.predict(X), model.predict(X))
    np.testing.assert_allclose(again.predict_interval(X), model.predict_interval(X))
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]


def test_bad_input_is_named(table):
    X, y = table
    with pytest.raises(ValueError, match="'forest'"):
        FeatureRegression("forest").fit(X, y)
    with pytest.raises(ValueError, match="n >= 10"):
        FeatureRegression().fit(X[:5], y[:5])
    with pytest.raises(ValueError, match="finite"):
        FeatureRegression().fit(np.where(X > 0.9, np.nan, X), y)


def test_normal_scores_are_monotone_and_invertible():
    y = np.random.default_rng(0).exponential(size=50).round(1)  # with ties
    scores = NormalScores().fit(y)
    np.testing.assert_allclose(scores.backward(scores.forward(y)), y)
    assert (np.diff(scores.backward(np.linspace(-5, 5, 200))) >= 0).all()


def test_diff_kendall_has_range_one():
    x = np.linspace(-1, 1, 20)
    assert diff_kendall(1e3 * x, 1e3 * x) == pytest.approx(1)
    assert diff_kendall(1e3 * x, -1e3 * x) == pytest.approx(-1)


def test_parzc_learns_to_rank():
    rng = np.random.default_rng(0)
    statistics = rng.lognormal(size=(150, 20, 2))
    statistics[rng.random((150, 20)) < 0.3] = np.nan
    X = scale_nodes(statistics)
    assert X.shape == (150, 40) and X.min() == 0 and X.max() == 1
    y = (X[:, ::2] > 0) @ np.linspace(0, 1, 20) ** 4  # a few nodes decide
    model = ParZCRegressor(width=32, depth=1, epochs=60, lr=1e-3).fit(X[:100], y[:100])
    assert kendalltau(model.predict(X[100:]), y[100:]).statistic > 0.4  # 100 rows, most of 40 columns say nothing
    assert model.spread(X[100:]).min() > 0
    assert np.isfinite(training_free(statistics)).all()


def test_statistics_by_hand():
    space = get_space("nasbench201")
    # every cell: one 3 x 3 beside a skip
    network = space.network(space.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|"))
    found = dict(zip(STATISTICS, network_statistics(network), strict=True))
    assert found["log_macs"] == pytest.approx(np.log(network.live.macs))
    assert found["longest_spatial"] == 1 + 15 + 4  # stem, cells, two blocks of two
    assert found["shortest_spatial"] == 1
    assert found["log_paths"] == pytest.approx(17 * np.log(2))
    assert found["mean_spatial"] == pytest.approx(1 + 15 / 2 + 4 / 2)


def test_encoding_forgets_dead_edges():
    space = get_space("nasbench201")
    dead = "|nor_conv_3x3~0|+|{}~0|none~1|+|skip_connect~0|skip_connect~1|none~2|"
    X = np.array([space.parse(dead.format(op)) for op in ("none", "nor_conv_3x3")])
    a, b = space.encoding(X)
    np.testing.assert_array_equal(a, b)
    assert features(space, X).shape == (2, len(a) + len(STATISTICS))
