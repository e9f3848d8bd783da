"""Parts of `scripts/bench_space_design.py` that need no training, on a design that is kept."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from bench_space_design import name_of, picks_part, suffix
from space_options import parsed

from latency_tables import LatencyTable
from nas.design.scoring import opened
from predictors import TableLatency
from search_spaces import get_space

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks"
DESIGN = RESULTS / "designed-vnni-strided64"


def picked(**options):
    fronts = RESULTS / "space-design-imagenette64-alone-vnni-strided64.json"
    given = {"designed": DESIGN, "fronts": fronts, "table": None, "limits": None, "networks": None} | options
    return picks_part(Namespace(**given))["fronts"]


def test_picks_are_the_designs_networks_under_each_limit():
    """One for each; their latency is the table's; hand-made fronts stay."""
    limits = [0.23, 0.25, 0.3]
    found = picked(limits=limits)
    ours = [front for front in found if front["folder"].startswith("designed")]
    assert [front["seed"] for front in ours] == [0, 1, 2] and {f["folder"] for f in found} >= {"ofa_resnet50-2"}
    (design,) = {json.dumps(front["space"]) for front in ours}
    space = get_space(json.loads(design)["name"], **json.loads(design)["options"])
    table = TableLatency(LatencyTable.read(DESIGN / "tables" / "local-cpu-1t-int8.parquet"), space).fit()
    rows = ours[0]["networks"]
    assert len(rows) == len(limits) and all(front["networks"] == rows for front in ours)
    for row, limit, before in zip(rows, limits, [0.0, *limits], strict=False):
        assert before < row["table_ms"] <= limit
        (ms,) = table.predict(np.array([space.parse(row["arch"])]))
        assert row["table_ms"] == pytest.approx(ms, rel=0.01)


def test_picks_by_default_are_for_the_designs_own_limits():
    """Or for as many, evenly between the smallest and the largest of them."""
    limits = opened(DESIGN).limits_ms
    own, between = (picked(**options)[0]["networks"] for options in ({}, {"networks": 3}))
    assert len(own) == len(limits) == 4 and len(between) == 3 and between[1] not in (own[0], own[-1])
    assert own[0] == between[0] and own[-1] == between[-1] and own[-1]["table_ms"] <= max(limits)


@pytest.mark.parametrize(
    ("of", "name"),
    [("fronts", "d-vnni-strided64"), ("alone", "d-alone-vnni-strided64"), ("beside", "x-again")],
)
def test_results_are_named_after_what_was_measured(of, name):
    """In benchmarks/, and in OUT, where what one wrote is what others read."""
    options = Namespace(part="measure", of=of, designed=DESIGN, beside=Path("space-design-x.json"))
    assert name_of("d", options) == name
    assert suffix(options) == {"fronts": "", "alone": "-alone", "beside": "-beside"}[of]


def test_what_is_timed_again_must_be_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench", "measure", "D", "--data", "x", "--out", str(tmp_path), "--of", "beside"])
    with pytest.raises(SystemExit):
        parsed(None)
    assert "--of beside needs --beside RESULT" in capsys.readouterr().err
