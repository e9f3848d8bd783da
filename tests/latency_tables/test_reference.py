"""Reference networks bring measurements of another speed of the machine to that of the table."""

import numpy as np
import pytest

from latency_tables import Anchors, Device, TableError, measure
from latency_tables.measuring import same_speed, time_record
from search_spaces import get_space

SPACE = get_space("ofa_mbv3", width=0.1, num_classes=4, resolutions=(8, 12), stem_stride=1, in_channels=1)


class SlowMachine:
    """An executor on which everything takes `slowdown` times as long as the table says, with some noise."""

    def __init__(self, slowdown, seed=0):
        self._slowdown, self._rng = slowdown, np.random.default_rng(seed)

    def machine(self, device):
        return {}

    def run(self, plan, skip, report):
        def ms(i):
            return plan.models[i].macs / 1e6 * self._slowdown * self._rng.lognormal(0, 0.002)

        for task in plan.tasks:
            rows = [[m, m, m, 10, 0.001] for m in map(ms, task["models"])]
            report(task["name"], 1.0)
            yield task["name"], {"latencies": rows, "anchors": [ms(i) for i in task["anchors"]]}


def networks(n, seed=0):
    return [SPACE.network(x) for x in SPACE.sample(np.random.default_rng(seed), n)]


@pytest.mark.parametrize("slowdown", [0.8, 1.0, 1.6])
def test_the_speed_of_the_table(slowdown):
    reference = networks(4, seed=1)
    anchors = Anchors(tuple(reference), tuple(n.macs / 1e6 for n in reference))
    models = networks(5)
    found = measure(models, Device("x"), anchors=anchors, executor=SlowMachine(slowdown))
    assert [x.median_ms for x in found] == pytest.approx([n.macs / 1e6 for n in models], rel=0.02)
    now = [x.scaled(1 / x.speed).median_ms for x in found]
    assert now == pytest.approx([n.macs / 1e6 * slowdown for n in models], rel=0.02)
    plain = measure(models, Device("x"), executor=SlowMachine(slowdown))
    assert [x.median_ms for x in plain] == pytest.approx(now, rel=0.02) and plain[0].speed == 1


def test_anchors_are_kept_as_text():
    anchors = Anchors(tuple(networks(2)), (1.0, 2.0))
    assert Anchors.parse(anchors.document) == anchors
    for damage in ({"median_ms": 0.0}, {"median_ms": "x"}, {"network": "nonsense"}, {"median_ms": float("inf")}):
        with pytest.raises(TableError):
            Anchors.parse([{**anchors.document[0], **damage}])


def test_batches_are_brought_to_one_speed():
    row = [1.0, 1.0, 1.0, 5, 0.0]
    first, second = (time_record({"latencies": [row], "anchors": [a]}, 1, 1) for a in (1.0, 2.0))
    slow, fast = same_speed([first, second])
    assert slow.median_ms == pytest.approx(1.5) and fast.median_ms == pytest.approx(0.75)
