"""Networks that are reported as meeting a limit meet it when measured again, whatever the noise."""

import numpy as np
import pytest

from latency_tables import Latency
from nas.budget import combined


@pytest.mark.parametrize("noise", [0.002, 0.01, 0.05])
def test_a_third_measurement_stays_below(noise):
    rng = np.random.default_rng(0)
    true = rng.uniform(3.2, 5.2, 400)
    passes = [[Latency(ms, ms, ms, 10) for ms in true * rng.lognormal(0, noise, 400)] for _ in range(3)]
    confirmed = combined(passes[0], passes[1])
    kept = [(c, third) for c, third in zip(confirmed, passes[2], strict=True) if c.upper_ms <= 5.0]
    assert len(kept) > 20
    assert sum(third.median_ms > 5.0 for _, third in kept) <= 1  # 3 standard deviations
    once = [third for first, third in zip(passes[0], passes[2], strict=True) if first.median_ms <= 5.0]
    assert sum(third.median_ms > 5.0 for third in once) >= sum(third.median_ms > 5.0 for _, third in kept)


def test_one_pair_cannot_prove_perfection():
    (found,) = combined([Latency(5.0, 4.9, 5.1, 10)], [Latency(5.0, 4.9, 5.1, 10)])
    assert found.upper_ms > 5.05 and found.latency.runs == 20 and found.latency.error_ms > 0
