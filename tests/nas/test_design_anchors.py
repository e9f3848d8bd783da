"""Networks that a lookup says are best, and real trainings that set block types against each other."""

from itertools import product

import numpy as np
import pytest

from nas.design.anchors import Anchor, anchors_of, offsets
from nas.design.best import best_under, genotype
from nas.design.workers import spread
from nas.errors import RunError
from search_spaces.hyperspace import Hyperspace
from search_spaces.spaceevo import STAGES
from tests.nas.test_design import lookup_of

HYPER = Hyperspace(width=0.15, num_classes=4, resolutions=(28,), stem_stride=1, in_channels=1, types=(1, 3))


def test_the_best_under_a_limit_is_that_of_brute_force():
    """Two widths a stage and two networks of each pair: every combination is made."""
    lookup, _, _ = lookup_of(HYPER)
    blocks, widths = (1, 3, 1, 3, 1, 3), [(0, len(w) - 1) for w in HYPER.widths[1:]]
    every = []
    for outer in np.ndindex(lookup.before_ms.shape[1:]):
        for path in product(*(product(w, (0, 1)) for w in widths)):
            loss, latency, before = 0.0, lookup.before_ms[-1][outer], outer[1]
            for stage, (after, row) in enumerate(path, 1):
                own = lookup.stages[stage, blocks[stage - 1]]
                loss += own.loss[before, after, row]
                latency += own.latency_ms[-1, before, after, row]
                before = after
            every.append((loss, latency + lookup.after_ms[-1, before]))
    loss, latency = np.array(every).T
    limits = np.linspace(latency.min(), latency.max(), 50)
    found = best_under(lookup, blocks, limits, widths)
    least = sorted({round(float(loss[latency <= t].min()), 9) for t in limits}, reverse=True)
    assert len(least) > 3 and [round(pick.loss, 9) for pick in found] == least
    for pick in found:  # and none is as good and faster
        assert pick.latency_ms == pytest.approx(latency[loss <= pick.loss + 1e-9].min())
    (fastest,) = best_under(lookup, blocks, (latency.min() / 2,), widths)
    assert fastest.latency_ms == pytest.approx(latency.min())


@pytest.mark.parametrize("kind", HYPER.types)
def test_a_pick_is_a_network_of_the_space(kind):
    """Its latency is that of the whole network of its genotype."""
    lookup, archs, cost = lookup_of(HYPER, rows=3)
    blocks = (kind,) * len(STAGES)
    space = HYPER.widest(blocks + (0,) * len(STAGES))
    picks = best_under(
        lookup,
        blocks,
        (1e-9, *np.quantile(lookup.draw(blocks + (0,) * 6, 500, np.random.default_rng(0))[1], (0.1, 0.9))),
    )
    assert len(picks) == 2
    for pick in picks:
        network = space.network(genotype(space, lookup, blocks, archs, pick))
        assert 0.25 + sum(cost(op) for op in network) == pytest.approx(pick.latency_ms)
    anchors = anchors_of(lookup, archs, [pick.latency_ms + 1e-9 for pick in picks])
    assert [a.loss for a in anchors if a.kind == kind] == pytest.approx([pick.loss for pick in picks])
    assert {a.kind for a in anchors_of(lookup, archs, (1e-9,))} == set(HYPER.types)


def anchor(kind, loss):
    return Anchor(kind, f"{kind}-{loss}", loss, 1.0)


def test_offsets_by_hand():
    """Errors of 10 L, and of 10 L + 6 for the second type: 6 points are a loss of 0.6, a tenth a stage."""
    anchors = [anchor(1, 2.0), anchor(1, 3.0), anchor(4, 1.0), anchor(4, 1.5), anchor(5, 7.0)]
    errors = [20.0, 30.0, 16.0, 21.0, 70.0]
    assert offsets(anchors, errors) == pytest.approx({1: 0.0, 4: 0.1, 5: 0.0})
    for upside_down in ([30.0, 20.0, 21.0, 16.0, 70.0], [20.0] * 5):
        with pytest.raises(RunError, match="--anchors 0"):
            offsets(anchors, upside_down)
    with pytest.raises(RunError, match="two anchors"):
        offsets([anchor(1, 2.0), anchor(4, 1.0)], [20.0, 10.0])


def squares(item, on_step):
    path, i = item
    on_step(f"item {i}")
    on_step("written")
    (path / str(i)).write_text(str(i * i))


def test_work_is_spread(tmp_path):
    told = []
    spread(squares, [(tmp_path, i) for i in range(3)], 1, lambda *report: told.append(report))
    assert told[:3] == [(1, 0, "item 0"), (2, 0, "written"), (3, 1, "item 1")]
    assert [(tmp_path / str(i)).read_text() for i in range(3)] == ["0", "1", "4"]
