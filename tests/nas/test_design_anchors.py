"""Networks that a lookup says are best, and real trainings that set block types against each other."""

import json
import time
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from latency_tables import LatencyTable
from nas.design.anchors import Anchor, AnchorTrainer, Measured, anchors_of, fit, recorded, train_anchors
from nas.design.best import best_under, designed_networks, genotype
from nas.design.distillers import _held_out_maps
from nas.design.scoring import opened
from nas.design.workers import spread
from nas.errors import RunError
from search_spaces import get_space
from search_spaces.hyperspace import Hyperspace
from search_spaces.spaceevo import STAGES
from supernets.distill import DistillConfig
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


def test_anchors_of_the_design_for_vnni_are_those_of_its_blocks(root):
    """Which networks they are, and what their errors add to the losses of a stage."""
    folder = root / "benchmarks" / "designed-vnni"
    designed, kept = opened(folder), json.loads((folder / "design.json").read_text())["anchors"]
    archs = {place: found.archs for place, found in designed.judged.items()}
    found = anchors_of(designed.lookup, archs, designed.limits_ms)
    assert [(a.kind, a.arch) for a in found] == [(row["kind"], row["arch"]) for row in kept["networks"]]
    anchors = [
        a._replace(loss=a.loss - len(STAGES) * kept["added"][row["block"]])
        for a, row in zip(found, kept["networks"], strict=True)
    ]
    said = fit(anchors, [Measured(row["error"], row["images"]) for row in kept["networks"]])
    assert said.slope == pytest.approx(kept["slope"]) and said.slope_error == pytest.approx(kept["slope_error"])
    assert list(said.added.values()) == pytest.approx(list(kept["added"].values()), abs=1e-6)  # losses are float32


def test_the_networks_of_the_design_for_vnni_keep_its_limits(root):
    """The best of each by the lookup, as networks of the space, by the table."""
    folder = root / "benchmarks" / "designed-vnni"
    designed = opened(folder)
    table, space = LatencyTable.read(folder / "tables" / "local-cpu-1t-int8.parquet"), get_space(str(folder))
    found = designed_networks(designed, designed.limits_ms)
    predicted = [table.predict(space.network(space.parse(arch))).median for arch, _ in found]
    assert predicted == pytest.approx([pick.latency_ms for _, pick in found])
    assert len(found) == 4 and all(ms <= limit for ms, limit in zip(predicted, designed.limits_ms, strict=True))
    losses = [pick.loss for _, pick in found]
    assert losses == sorted(losses, reverse=True)


def test_stages_are_judged_on_what_was_kept_out():
    split = SimpleNamespace(train_images=np.zeros(50), validation_images=np.arange(1, 11))
    subnets = SimpleNamespace(split=split, images=lambda images, size: images * size)
    found = _held_out_maps(subnets, lambda images, stage: (images, stage), 3, 2, DistillConfig(batch_size=4, judged=9))
    assert [(x.tolist(), stage) for x, stage in found] == [([2, 4, 6, 8], 3), ([10, 12, 14, 16], 3)]


def anchor(kind, loss):
    return Anchor(kind, f"{kind}-{loss}", loss, 1.0)


MANY = 10**9  # images, of which errors are exact


def test_offsets_by_hand():
    """Errors of 10 L, and of 10 L + 6 for the second type: 6 points are a loss of 0.6, a tenth a stage."""
    anchors = [anchor(1, 2.0), anchor(1, 3.0), anchor(4, 1.0), anchor(4, 1.5), anchor(5, 7.0)]
    errors = [20.0, 30.0, 16.0, 21.0, 70.0]
    found = fit(anchors, [Measured(e, MANY) for e in errors])
    assert found.slope == pytest.approx(10) and found.added == pytest.approx({1: 0.0, 4: 0.1, 5: 0.0})
    document = recorded(3, anchors, [Measured(e, MANY) for e in errors], found)
    assert document["added"]["resnet_se"] == found.added[4] and document["networks"][3]["error"] == 21.0
    for upside_down in ([30.0, 20.0, 21.0, 16.0, 70.0], [20.0] * 5):
        with pytest.raises(RunError, match="--anchors 0"):
            fit(anchors, [Measured(e, MANY) for e in upside_down])


def test_what_few_images_say_is_refused():
    """Errors of 20 and 24 % with a loss of 1 between them, images for a standard error of the slope of 1, or of 3."""
    anchors = [anchor(1, 2.0), anchor(1, 3.0)]
    noise = 20 * 80 + 24 * 76  # squared, of one image
    found = fit(anchors, [Measured(20.0, noise), Measured(24.0, noise)])
    assert found.slope == pytest.approx(4) and found.slope_error == pytest.approx(1)
    with pytest.raises(RunError, match=r"4 \+- 3"):
        fit(anchors, [Measured(20.0, noise // 9), Measured(24.0, noise // 9)])


def test_one_anchor_a_type_is_refused_before_anything_is_trained(tmp_path):
    trainer = AnchorTrainer(tmp_path / "anchors", tmp_path / "none", HYPER, 1, int8=True)
    with pytest.raises(RunError, match="two anchors"):
        train_anchors(trainer, [anchor(1, 2.0), anchor(3, 1.0)], 1)
    assert not trainer.folder.exists()


def squares(item, on_step):
    path, i = item
    on_step(f"item {i}")
    on_step("written")
    (path / str(i)).write_text(str(i * i))


def fails_or_takes_long(item, on_step):
    path, i = item
    for _ in range(40):
        time.sleep(0.1)
        on_step("")
        if i == 0:
            raise ValueError("the first one")
    (path / str(i)).write_text("done")


@pytest.mark.parametrize("processes", [1, 2])
def test_work_is_spread(tmp_path, processes):
    told = []
    spread(squares, [(tmp_path, i) for i in range(3)], processes, lambda *report: told.append(report))
    assert [(tmp_path / str(i)).read_text() for i in range(3)] == ["0", "1", "4"]
    if processes == 1:
        assert [row[:2] for row in told] == [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (6, 2)]
    else:
        assert told[-1] == (6, 3, "3 of 3 done")


def test_one_failure_ends_all(tmp_path):
    """Also what the pool has handed out already."""
    with pytest.raises(ValueError, match="the first one"):
        spread(fails_or_takes_long, [(tmp_path, i) for i in range(6)], 2, lambda *report: None)
    assert [*tmp_path.iterdir()] == []
