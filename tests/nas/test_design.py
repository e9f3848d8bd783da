"""Designing a space: the score's closed form, the evolution's contract, latencies against whole networks, the page."""

import json
from itertools import product

import numpy as np
import pytest
from scipy.stats import spearmanr

from latency_tables import get_device
from nas.design import evolution as evo
from nas.design.evolution import EvolutionConfig, choices, evolve
from nas.design.lookup import Lookup, StageLookup, outer_latency, stage_latency
from nas.design.page import curve, write_page
from nas.design.profiling import covering, hyper_study
from nas.design.run import _begin
from nas.design.score_log import ScoreLog
from nas.design.scoring import opened
from nas.design.summary import left_to_luck
from nas.errors import RunError, UserError
from nas.pareto import hypervolume
from nas.spaces import open_space
from predictors.space_quality import parts, quality
from search_spaces import SpaceError, get_space
from search_spaces.hyperspace import Hyperspace, StageSpace
from search_spaces.spaceevo import STAGES, STRIDES
from search_spaces.spaceevo_blocks import BLOCKS
from supernets.distill import judged_archs

TINY = Hyperspace(width=0.1, num_classes=4, resolutions=(28,), stem_stride=1, in_channels=1, types=(0, 3))


def test_score_by_hand():
    """Two limits: enough networks under one, too few under the other, the best two of each averaged."""
    loss = np.array([1.0, 2.0, 3.0, 4.0])
    latency = np.array([4.0, 3.0, 2.0, 1.0])
    # under 4: all, losses 1 and 2; under 1: one of four, loss 4; (0.5 / 0.25001)^2 is its penalty
    expected = 1 / 1.5 + 1 / ((0.5 / 0.25001) ** 2 * 4)
    assert quality(loss, latency, (4.0, 1.0), share=0.5, exponent=2.0, best=2) == pytest.approx(expected)
    (_, nothing), (penalty, _) = parts(loss, latency, (0.5, 9.0))
    assert nothing == 1e5 and penalty == 1.0
    assert quality(loss, latency, (4.0,)) == pytest.approx(1 / 2.5)  # fewer than 50: all of them


def lookup_of(hyper, rows=2):
    """A lookup whose latencies are a cost of every operator and whose losses are random; and that cost."""
    rng = np.random.default_rng(0)

    def cost(op):
        return 1e-4 * (op.macs + op.out_shape[0] + len(op.key))

    stages, archs = {}, {}
    for stage, kind in product(range(1, len(STAGES) + 1), hyper.types):
        own = judged_archs(StageSpace(hyper, stage, BLOCKS[kind], (8, 8), 28), rows, 0)
        archs[stage, kind] = own
        loss = rng.random(own.shape[:3]) + 0.1
        stages[stage, kind] = StageLookup.of(loss, stage_latency(hyper, stage, kind, own, cost))
    return Lookup(hyper, stages, *outer_latency(hyper, cost, 0.25)), archs, cost


@pytest.mark.parametrize("strides", [STRIDES, "212121"])
def test_latencies_add_up_to_those_of_whole_networks(strides):
    """Every network that the lookup can draw from a space with one network a stage, against the space itself."""
    made = {"width": 0.15, "num_classes": 4, "resolutions": (28,), "stem_stride": 1, "in_channels": 1, "types": (1, 3)}
    hyper = Hyperspace(**made, strides=strides)
    lookup, archs, cost = lookup_of(hyper, rows=1)
    design = (1, 3, 1, 3, 1, 3, *(windows[-1] for windows in hyper.windows))
    space, rng = hyper.space(design), np.random.default_rng(1)
    _, drawn = lookup.draw(design, 4000, rng)
    for _ in range(5):
        x = space.sample(rng, 1)[0]
        before = space.genes[space.index["stage0.width"]].choices[x[space.index["stage0.width"]]]
        values = {g.name: g.choices[v] for g, v in zip(space.genes, x, strict=True)}
        for stage in range(1, len(STAGES) + 1):
            width = values[f"stage{stage}.width"]
            i, j = hyper.widths[stage - 1].index(before), hyper.widths[stage].index(width)
            own = StageSpace(hyper, stage, BLOCKS[design[stage - 1]], (8, 8), 28).decode(
                archs[stage, design[stage - 1]][i, j, 0]
            )
            values |= {name: value for name, value in own.items() if name != "input.width"}
            before = width
        keep = {name: value for name, value in values.items() if name in space.index}
        whole = 0.25 + sum(cost(op) for op in space.network(space.encode(keep)))
        assert np.abs(drawn - whole).min() < 1e-9


@pytest.mark.parametrize("end", [0, -1])
def test_the_fastest_and_the_slowest_network_are_drawn(end):
    """Which independent choices among some 10^10 networks would not make once."""
    lookup, _, _ = lookup_of(TINY, rows=4)
    design = (*TINY.types[:1] * len(STAGES), *(windows[-1] for windows in TINY.windows))
    width = range(lookup.before_ms.shape[2])[end]
    expected = lookup.before_ms[end, end, end, end]
    for stage in range(1, len(STAGES) + 1):
        before, width = width, TINY.widths[stage].index(TINY.window_widths(design, stage)[end])
        expected += lookup.stages[stage, design[stage - 1]].latency_ms[end, before, width, end]
    expected += lookup.after_ms[end, width]
    _, drawn = lookup.draw(design, 2000, np.random.default_rng(0))
    assert np.isclose(drawn, expected, rtol=1e-12).sum() > 10
    assert np.quantile(drawn, 0.2) < np.median(drawn) < np.quantile(drawn, 0.8)


def test_the_table_would_know_every_kernel():
    keys = {key for network in covering(TINY) for key in network.kernels}
    rng = np.random.default_rng(0)
    for _ in range(40):
        space = TINY.space(evo.random_design(TINY, rng))
        assert set(space.network(space.sample(rng, 1)[0]).kernels) <= keys


def test_the_tables_networks_reach_what_evolution_may_end_at():
    """Sizes from near the smallest to near the largest, which uniform draws miss."""
    hyper, device = Hyperspace(width=0.5, num_classes=10, resolutions=(32,), stem_stride=1), get_device("local-cpu-1t")
    timed = hyper_study(hyper, device).timed
    keys = {key for network in covering(hyper) for key in network.kernels}
    assert all(set(network.kernels) <= keys for network in timed)
    rng = np.random.default_rng(0)
    spaces = [hyper.space(evo.random_design(hyper, rng)) for _ in timed]
    uniform = [space.network(space.sample(rng, 1)[0]).macs for space in spaces]
    low, high = np.quantile([network.macs for network in timed], (0.1, 0.9))
    assert low < 0.5 * np.quantile(uniform, 0.1) and high > 1.5 * np.quantile(uniform, 0.9)


def test_a_folder_from_before_the_macro_had_options_is_continued(tmp_path):
    """It was begun with what are now defaults; others are refused."""
    path = tmp_path / "options.json"
    new = {"hyperspace": Hyperspace().options}
    old = {key: value for key, value in new["hyperspace"].items() if key not in ("activation", "features")}
    path.write_text(json.dumps({"hyperspace": old}))
    _begin(path, new)
    with pytest.raises(RunError, match="begun with hyperspace"):
        _begin(path, {"hyperspace": Hyperspace(features=0).options})


def test_the_score_of_every_space_is_found_by_evolution():
    """A hyperspace of 2,048 spaces: evolution scores each of them once, and its best is that of brute force."""
    hyper = TINY
    lookup, _, _ = lookup_of(hyper)

    def score(design):
        loss, latency = lookup.draw(design, 50, np.random.default_rng([0, *design]))
        return quality(loss, latency, (30.0, 60.0))

    every = {design: score(design) for design in product(*choices(hyper))}
    assert len(every) == hyper.size
    config = EvolutionConfig(spaces=10**6, population=8, tournament=3)
    found = evolve(hyper, config, score)
    assert dict(found) == every and len(found) == len(every)


@pytest.fixture
def counted():
    """A score that likes one space, and what it was asked."""
    asked = []

    def score(design):
        asked.append(design)
        return -float(sum(abs(a - b) for a, b in zip(design, (5, 0, 3, 4, 2, 1, 1, 3, 0, 2, 1, 3), strict=True)))

    return asked, score


def test_no_space_twice_every_type_at_every_stage_and_better_than_chance(counted):
    asked, score = counted
    hyper = Hyperspace()
    assert hyper.size == 6**6 * 2 * 4**5
    config = EvolutionConfig(spaces=800, population=60, tournament=15, seed=3)
    history = evolve(hyper, config, score)
    assert [design for design, _ in history] == asked and len(set(asked)) == len(asked) == 800
    assert [design[:6] for design in asked[:6]] == [(kind,) * 6 for kind in range(6)]
    for stage in range(6):  # also bred, not only drawn at the start
        assert {design[stage] for design in asked[60:]} == set(range(6))
    assert max(s for _, s in history[60:]) > max(s for _, s in history[:60]) + 3
    assert evolve(hyper, config, score) == history
    assert evolve(hyper, EvolutionConfig(800, 60, 15, seed=4), score) != history


def test_a_child_differs_in_one_stage():
    rng, hyper = np.random.default_rng(0), Hyperspace()
    design = evo.random_design(hyper, rng)
    for block, at in ((True, slice(0, 6)), (False, slice(6, 12))):
        for _ in range(20):
            other = evo.changed(hyper, design, rng, block=block)
            assert sum(a != b for a, b in zip(design, other, strict=True)) == 1 and other[at] != design[at]


def test_equal_windows_count_once():
    """Small multipliers round neighbouring windows to the same widths."""
    for s, windows in enumerate(TINY.windows, 1):
        widths = [TINY.window_widths((0,) * (5 + s) + (w,) + (0,) * (6 - s), s) for w in windows]
        assert len(set(widths)) == len(widths)


@pytest.mark.parametrize("left", [0, 1, 37, 99])
def test_a_killed_evolution_goes_on_to_the_same_log(tmp_path, counted, left):
    """Cut after any line, and in the middle of one."""
    asked, score = counted
    hyper, config = Hyperspace(), EvolutionConfig(100, 20, 5)
    path, options = tmp_path / "log.jsonl", {"seed": 0}

    def run():
        log = ScoreLog(path, options)
        return evolve(hyper, config, lambda design: log(design, score))

    whole = run()
    text = path.read_text()
    path.write_text("\n".join(text.split("\n")[: left + 1]) + '\n{"design": [1, 2')
    asked.clear()
    assert run() == whole and path.read_text() == text and len(asked) == 100 - left
    with pytest.raises(RunError, match="other options"):
        ScoreLog(path, {"seed": 1})


def test_a_designed_space_opens(tmp_path):
    space = TINY.space((0, 3, 0, 3, 0, 3, *(w[0] for w in TINY.windows)))
    (tmp_path / "space.json").write_text(json.dumps({"name": space.name, "options": space.options}))
    for name in (tmp_path, tmp_path / "space.json"):
        for found in (open_space(str(name)), get_space(str(name))):
            assert found.options == space.options and found.size == space.size
    assert open_space(str(tmp_path), ["num_classes=7"]).options["num_classes"] == 7
    for text in ("{", "[]", '{"name": "os.system", "options": {}}', '{"name": "spaceevo", "options": {"blocks": "9"}}'):
        (tmp_path / "space.json").write_text(text)
        for opened_by in (open_space, get_space):
            with pytest.raises(SpaceError, match="damaged"):
                opened_by(str(tmp_path))


def test_page(tmp_path):
    row = {"stage": 1, "block": "mbv2", "blocks": {"mbv2": 1.0, "resnet": 0.5}, "widths": [8, 16]}
    row["windows"] = [{"widths": [8, 16], "score": 1.0}, {"widths": [16, 24], "score": 0.9}]
    document = {
        "device": "a<b",
        "space": {"options": {"blocks": "111111", "windows": "000000"}},
        "score": 1.0,
        "curve": [0.2, 0.7, 0.5, 1.0],
        "limits": [{"limit_ms": 2.0, "share": 0.5, "penalty": 1.0, "loss": 0.5}],
        "alternatives": [row],
        "speedup": {"mbv2": [1.5], "resnet": [2.25]},
        "losses": {"mbv2": [0.5], "resnet": [0.6]},
        "distillation": {"loss": "nsr"},
    }
    text = write_page(tmp_path, document).read_text()
    assert "a&lt;b" in text and "2.25x" in text and "-0.5" in text and "http" not in text
    drawn = curve([0.2, 0.7, 0.5, 1.0])
    heights = [float(p.split(",")[1]) for p in drawn.split('points="')[1].split('"')[0].split()]
    assert heights == sorted(heights, reverse=True) and heights[1] == heights[2]


def test_what_was_designed_for_vnni_scores_what_is_recorded(root):
    """Distilled losses, an INT8 table and an evolution's scores are kept: a score is the same wherever it is asked."""
    folder = root / "benchmarks" / "designed-vnni"
    record = json.loads((folder / "design.json").read_text())
    blocks, windows = (record["space"]["options"][key] for key in ("blocks", "windows"))
    found = opened(folder)
    score = found.score
    assert found.limits_ms == tuple(record["goal"]["limits_ms"]) and found.best == tuple(map(int, blocks + windows))
    assert score(found.best) == pytest.approx(record["score"]) == max(record["curve"])
    assert score((2, *map(int, blocks[1:] + windows))) == pytest.approx(record["alternatives"][0]["blocks"]["mbv3"])


def test_the_score_ranks_spaces_as_supernets_trained_on_them(root):
    """Hypervolumes of the fronts that 50 random spaces reached in a short training on a GPU.

    How networks are drawn, and the limits, were chosen after 16 of them were trained; the others alone keep it, too.
    """
    kept = json.loads((root / "benchmarks" / "space-design-score.json").read_text())
    before = json.loads((root / "benchmarks" / "space-design-score-16.json").read_text())["spaces"]
    trained, seen = kept["spaces"], {tuple(row["design"]) for row in before}
    score = opened(root / "benchmarks" / "designed-vnni").score
    scores = np.array([score(tuple(row["design"])) for row in trained])
    reached = np.array([row["hypervolume"] for row in trained])
    unseen = np.array([tuple(row["design"]) not in seen for row in trained])
    assert len(trained) == 50 and unseen.sum() == 34
    assert spearmanr(scores, reached).statistic == pytest.approx(kept["spearman"]) and kept["spearman"] > 0.6
    assert spearmanr(scores[unseen], reached[unseen]).statistic > 0.6
    for row in trained:
        assert row["hypervolume"] == pytest.approx(hypervolume(np.array(row["front"]), np.array([100.0, 1.0])))


def test_limits_that_luck_decides_are_named():
    limits = [{"limit_ms": 0.45, "share": 1e-5}, {"limit_ms": 0.6, "share": 5e-4}, {"limit_ms": 0.4, "share": 0.0}]
    few, none = left_to_luck(limits, 100_000)
    assert few.startswith("Only 1 of the 100000 networks drawn from it are under 0.45 ms")
    assert none.startswith("Only 0 of the 100000 networks drawn from it are under 0.4 ms")


@pytest.mark.parametrize("sizes", [(10, 20, 5), (10, 5, 6), (10, 5, 0)])
def test_sizes_of_the_evolution_are_checked(sizes):
    with pytest.raises(UserError, match="tournament"):
        EvolutionConfig(*sizes)
