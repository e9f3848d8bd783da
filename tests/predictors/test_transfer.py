"""Few-shot transfer: a new device that is a mixture of known ones, and published devices left out."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from predictors.transfer import TransferLatency
from scripts.bench_transfer import floor, load


@pytest.fixture(scope="module")
def devices():
    """Latencies of 400 networks on 6 devices, which are mixtures of 3 kinds of cost."""
    rng = np.random.default_rng(0)
    return np.exp(rng.normal(0, 0.4, (400, 3))) @ rng.uniform(0, 1, (3, 6)) * np.array([1, 2, 4, 8, 30, 200])


def test_a_mixture_of_known_devices_is_predicted_in_ms(devices):
    truth = 0.3 * devices[:, 0] + 0.05 * devices[:, 4]
    transfer = TransferLatency(devices, seed=0)
    rows = transfer.choose(10)
    assert len(set(rows.tolist())) == 10
    predicted = transfer.fit(rows, truth[rows]).predict()
    assert spearmanr(predicted, truth).statistic > 0.97
    assert np.median(np.abs(predicted / truth - 1)) < 0.06
    assert np.array_equal(transfer.predict([3, 5]), predicted[[3, 5]])
    assert (transfer.weights_ >= 0).all() and 0 < transfer.error_ < 0.5


def test_features_explain_what_no_known_device_does(devices, rng):
    feature = rng.integers(0, 4, (len(devices), 1)).astype(float)
    truth = devices[:, 0] * np.exp(0.3 * feature[:, 0])
    with_one = devices * np.exp(0.3 * feature * (np.arange(6) == 5))  # one known device has it as well
    rows = TransferLatency(with_one, feature, seed=0).choose(12)
    scores = [
        spearmanr(TransferLatency(with_one, f, seed=0).fit(rows, truth[rows]).predict(), truth).statistic
        for f in (None, feature)
    ]
    assert scores[1] > 0.9 and scores[1] >= scores[0] - 0.01


def test_is_deterministic(devices):
    first, second = (TransferLatency(devices, seed=3).choose(8) for _ in range(2))
    assert np.array_equal(first, second)


def test_bad_latencies_are_refused(devices):
    with pytest.raises(ValueError, match="measured_ms"):
        TransferLatency(devices).fit([0, 1], [1.0, 0.0])
    with pytest.raises(ValueError, match="above 0"):
        TransferLatency(-devices).choose(5)
    with pytest.raises(ValueError, match="between 2 and"):
        TransferLatency(devices).choose(1)


@pytest.mark.parametrize("name", ["nasbench201", "fbnet_cifar100"])
def test_published_devices(shared_bench, name):
    """One seed over a few devices: above the floor; the bars over all devices are in scripts/bench_transfer.py."""
    columns, ms, features = load(shared_bench, name)
    ours, lowest = [], []
    for target in range(1, len(columns), 9):
        sources = np.delete(ms, target, axis=1)
        for seed in range(1):
            transfer = TransferLatency(sources, features, seed=seed)
            rows = transfer.choose(10)
            random = np.random.default_rng(seed).choice(len(ms), 10, replace=False)
            ours.append(spearmanr(transfer.fit(rows, ms[rows, target]).predict(), ms[:, target]).statistic)
            lowest.append(spearmanr(floor(sources, ms[:, target], random), ms[:, target]).statistic)
    assert np.mean(ours) > np.mean(lowest)
