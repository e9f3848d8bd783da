"""The Gaussian process against scikit-learn's, and the path counts of networks that compute the same."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from predictors.gaussian_process import GaussianProcess, _objective, squared_distances
from predictors.graph import path_counts
from search_spaces import get_space


def test_posterior_equals_scikit_learn(rng):
    A, B, y = rng.normal(size=(30, 3)), rng.normal(size=(20, 3)), rng.normal(size=30)
    gp = GaussianProcess().fit([A], y)
    theta, nugget = np.exp(gp.log_parameters_)
    shifted = y - (gp._shift + gp._scale * gp._mean)
    other = GaussianProcessRegressor(Matern(1 / np.sqrt(theta), nu=1.5), alpha=nugget + 1e-6, optimizer=None).fit(
        A, shifted
    )
    mean, sd = gp.predict([B])
    expected, spread = other.predict(B, return_std=True)
    assert mean == pytest.approx(expected + y.mean() + gp._scale * gp._mean, abs=1e-6)
    assert sd == pytest.approx(gp.sd_ * np.sqrt(spread**2 + nugget + 1e-6), rel=1e-4)


def test_gradient_equals_finite_differences(rng):
    A, y = rng.normal(size=(12, 2)), rng.normal(size=12)
    distances = np.stack([squared_distances(A[:, :1], A[:, :1]), squared_distances(A[:, 1:], A[:, 1:])])
    p, prior = np.array([-0.3, 0.4, -2.0]), np.zeros(3)
    _, gradient = _objective(p, distances, y, prior)
    for i in range(3):
        step = np.eye(3)[i] * 1e-5
        both = [_objective(p + s, distances, y, prior)[0] for s in (step, -step)]
        assert gradient[i] == pytest.approx((both[0] - both[1]) / 2e-5, rel=1e-4, abs=1e-5)


def test_a_constant_is_predicted_without_doubt(rng):
    """As of a data set that every network gets all right; and it learns once there is something to learn."""
    A, B = rng.normal(size=(10, 3)), rng.normal(size=(6, 3))
    gp = GaussianProcess().fit([A], np.full(10, 7.5))
    mean, sd = gp.predict([B])
    assert (mean == 7.5).all() and (sd == 0).all()
    assert np.isfinite(gp.log_parameters_).all()
    gp.fit([A], A[:, 0])
    assert np.corrcoef(gp.predict([B])[0], B[:, 0])[0, 1] > 0.9


def test_believing_the_mean_equals_telling_it(rng):
    A, B, y = rng.normal(size=(15, 2)), rng.normal(size=(8, 2)), rng.normal(size=15)
    gp = GaussianProcess().fit([A], y)
    posterior = gp.posterior([B])
    before = posterior.mean.copy(), posterior.sd.copy()
    posterior.believe(3)
    assert posterior.mean == pytest.approx(before[0])
    assert (posterior.sd <= before[1] + 1e-12).all() and posterior.sd[3] < before[1][3]
    again = gp.posterior([np.concatenate([A[:1], B])])
    assert again.mean[1:] == pytest.approx(before[0])


def test_paths_do_not_see_what_has_no_effect():
    space = get_space("nasbench201")
    live = "|nor_conv_3x3~0|+|none~0|none~1|+|{}~0|none~1|nor_conv_1x1~2|"
    dead = "|avg_pool_3x3~0|+|none~0|none~1|+|{}~0|none~1|none~2|"
    for op in ("nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3"):
        paths = [path_counts(space.network(space.parse(text.format(op)))) for text in (live, dead)]
        assert paths[0] == paths[1]
    assert path_counts(space.network(space.parse(live.format("skip_connect")))) != paths[0]


def test_paths_of_two_edges():
    space = get_space("nasbench201")
    both = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|nor_conv_3x3~2|"
    counts = path_counts(space.network(space.parse(both)))
    three, one = (("Conv", 3, 1, None),), (("Conv", 1, 1, None),)
    assert counts[one] == 15 and counts[three * 2] == 15  # fifteen cells
