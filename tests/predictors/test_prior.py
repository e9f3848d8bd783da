"""What is known before the first evaluation, against published accuracies."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from predictors.feature_groups import Features, zero_cost_columns
from predictors.zero_cost.prior import prior_scores
from search_spaces import get_space


def test_ranks_are_the_same_in_other_processes():
    space = get_space("nasbench201", num_classes=4)
    rows = space.sample(np.random.default_rng(0), 130)
    seen: list[tuple[int, int]] = []
    one = prior_scores(space, rows, report=lambda done, total: seen.append((done, total)))
    assert one.shape == (130, 2) and seen == [(100, 130), (130, 130)]
    assert (one.min(axis=0) >= 0).all() and (one.max(axis=0) <= 1).all()
    assert (prior_scores(space, rows, processes=2) == one).all()


def test_a_network_that_does_not_read_its_image_is_worst():
    space = get_space("nasbench201")
    rows = np.concatenate([np.zeros((1, 6), dtype=np.int64), space.sample(np.random.default_rng(1), 20)])
    assert not space.reads_image(rows[:1])[0]
    assert (prior_scores(space, rows)[0] == prior_scores(space, rows).min(axis=0)).all()


def test_ranks_tell_published_accuracies_apart(shared_bench):
    space = get_space("nasbench201")
    table = pd.read_parquet(shared_bench / "nasbench201.parquet").sample(200, random_state=0)
    rows = np.array([space.parse(text) for text in table["arch_str"]])
    readable = space.reads_image(rows)
    scores = prior_scores(space, rows[readable])
    accuracy = table["c10_valid_200"].to_numpy()[readable]
    assert [spearmanr(column, accuracy).statistic > 0.55 for column in scores.T] == [True, True]


def test_only_small_spaces_are_scored_whole():
    with pytest.raises(ValueError, match=r"ofa_mbv3 \(size=.*\) must have at most 32768 networks"):
        Features(get_space("ofa_mbv3"), zero_cost=True)


@pytest.mark.slow
def test_equal_networks_are_scored_once_and_kept():
    space = get_space("nasbench201")
    columns = zero_cost_columns(space, processes=2)
    assert columns.shape == (space.size, 2) and zero_cost_columns(space) is columns
    assert len(np.unique(columns, axis=0)) < 5_000
