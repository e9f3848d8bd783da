"""Fronts of `scripts/bench_space_design.py`: compared with each other, by hand; accuracies taken from before."""

import json
import shutil

import numpy as np
import onnx
import pytest
from space_compare import compared, joined
from space_fronts import RECORD, measured

from latency_tables import onnx_model
from latency_tables.int8 import quantize
from search_spaces import get_space

DEVICE = "local-cpu-1t-int8"
SPACE = {"name": "ofa_mbv3", "options": {"width": 0.1, "resolutions": [12], "stem_stride": 2, "in_channels": 1}}


def front(folder, *rows):
    return {"folder": folder, "networks": [{"test": test, "latency_ms": ms} for test, ms in rows]}


def test_fronts_are_compared_where_both_are():
    """80 % in 2 ms against 1 and 60 in 0.6 against 0.5: twice as fast; 81 % within 1 ms is 21 points above 60."""
    ours = front("designed-0", (70.0, 0.5), (81.0, 1.0))
    beaten = (75.0, 3.0)  # by their own network of 80 %: nothing is won over it
    theirs = front("hand-0", (60.0, 0.6), (80.0, 2.0), beaten)
    other_seed, out_of_reach = front("hand-1", (0.0, 9.0)), front("best-0", (90.0, 0.1))
    found = compared([ours, theirs, other_seed, out_of_reach], "designed")
    assert found == {
        "hand": {"times_faster": [pytest.approx(2.0)], "points_better": [pytest.approx(21.0)]},
        "best": {"times_faster": [None], "points_better": [None]},
    }


@pytest.mark.parametrize(("slowest", "points"), [(0.9, 10.0), (1.0, 21.0)])
def test_accuracies_are_compared_at_latencies_that_both_were_looked_for(slowest, points):
    """70 % in 0.5 ms against 60 in 0.6; ours of 1 ms counts where the other space was looked at up to there."""
    ours, theirs = front("designed-0", (70.0, 0.5), (81.0, 1.0)), front("hand-0", (60.0, 0.6), (55.0, slowest))
    assert compared([ours, theirs], "designed")["hand"]["points_better"] == [points]


def of(folder, *latencies, **more):
    rows = [{"arch": f"a{ms}", "latency_ms": ms, "test": 70.0} for ms in latencies]
    return {"folder": folder, "space": SPACE, "seed": 0, "networks": rows} | more


def test_networks_of_one_space_seed_and_training_are_one_front():
    """Larger networks trained later join those of the search; a design, another seed or other epochs never."""
    short, long = ({"epochs": epochs, "networks": n} for epochs, n in ((5, 2), (9, 2)))
    apart = [
        of("designed-0", 0.1, alone=short),
        of("hand-1", 0.5, alone=short, seed=1),
        of("hand_long-0", 4.0, alone=long),
    ]
    apart += [of("hand-0", 6.0, train={"epochs": 5}), of("hand-0", 7.0, quantised={"epochs": 5})]
    larger = of("hand_larger-0", 3.0, 1.0, alone=short | {"networks": 7}, files="not kept")
    search = of("hand-0", 2.0, alone=short)
    search["space"] = SPACE | {"options": SPACE["options"] | {"num_classes": 1000}}  # as it is anyway
    found = joined([larger, *apart, search])
    assert [front["folder"] for front in found] == ["hand-0", *(front["folder"] for front in apart)]
    assert [row["latency_ms"] for row in found[0]["networks"]] == [1.0, 2.0, 3.0] and found[0]["files"] == "not kept"
    assert found[1:] == apart


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A front of one quantised network with random weights."""
    folder = tmp_path_factory.mktemp("fronts") / "designed-0"
    folder.mkdir()
    space = get_space(SPACE["name"], **SPACE["options"], num_classes=4)
    x, rng = 0 * space.cardinality, np.random.default_rng(0)
    (folder / "fp32.onnx").write_bytes(onnx_model(space.network(x)).SerializeToString())
    quantize(folder / "fp32.onnx", rng.normal(size=(8, 1, 12, 12)).astype(np.float32), folder / "0.onnx")
    row = {"file": "0.onnx", "arch": space.to_text(x), "size": 12, "table_ms": 0.1}
    (folder / RECORD).write_text(json.dumps({"space": SPACE, "seed": 0, "networks": [row]}))
    return folder


def test_accuracies_of_files_that_are_gone_stay_and_their_networks_are_timed(files, pictures_file):
    """Those of the fronts that have no files now; times are all of this run."""
    arch = json.loads((files / RECORD).read_text())["networks"][0]["arch"]
    gone = {"space": SPACE, "seed": 0, "networks": [{"arch": arch, "test": 77.7, "latency_ms": 1e9}]}
    before = {
        "data": pictures_file.stem,
        "conditions": {"precision": "int8"},
        "fronts": [gone | {"folder": "hand-0"}, gone | {"folder": "designed-1"}],
    }
    found = measured([files], str(pictures_file), DEVICE, 0.05, before)
    assert [f["folder"] for f in found["fronts"]] == ["designed-0", "hand-0"]  # designs are never taken from before
    here, there = (f["networks"][0] for f in found["fronts"])
    assert there["test"] == 77.7 and "not kept" in found["fronts"][1]["files"]
    assert 0 <= here["test"] <= 100 and 0 < there["latency_ms"] < 1e3 and 0 < here["latency_ms"] < 1e3
    assert "floats" not in found and "in_float" not in here
    again = measured([], str(pictures_file), DEVICE, 0.05, before)["fronts"]  # but where nothing is there of now
    assert [(f["folder"], f["networks"][0]["test"]) for f in again] == [("hand-0", 77.7), ("designed-1", 77.7)]
    with pytest.raises(SystemExit, match="other in int8, not of quarters"):
        measured([files], str(pictures_file), DEVICE, 0.05, before | {"data": "other"})


def test_the_faster_form_of_a_network_counts(files, pictures_file):
    """All on integers, or the stem in float: own files and networks of other fronts alike."""
    arch = json.loads((files / RECORD).read_text())["networks"][0]["arch"]
    gone = {"space": SPACE, "seed": 0, "folder": "hand-0", "networks": [{"arch": arch, "test": 77.7}]}
    before = {"data": pictures_file.stem, "conditions": {"precision": "int8"}, "fronts": [gone]}
    found = measured([files], str(pictures_file), DEVICE, 0.05, before, ("stem",))
    assert found["floats"] == ["stem"]
    for front in found["fronts"]:
        (row,) = front["networks"]
        assert row["in_float"] in (True, False) and row["latency_ms"] > 0
    whole, other = (onnx.load(files / name) for name in ("0.onnx", "0.float.onnx"))
    kinds = [
        {node.op_type for node in m.graph.node if "stem_DequantizeLinear_Output" in node.output} for m in (whole, other)
    ]
    assert kinds == [{"DequantizeLinear"}, {"DequantizeLinear"}]  # behind the stem values are rounded as before
    assert "image_QuantizeLinear_Output" in str(whole) and "image_QuantizeLinear_Output" not in str(other)


def test_networks_trained_later_join_those_of_before(files, tmp_path, pictures_file):
    """The same network is measured from its file; one that was trained differently takes the whole front's place."""
    row = json.loads((files / RECORD).read_text())["networks"][0]
    space = get_space(SPACE["name"], **SPACE["options"], num_classes=4)
    other = row | {"arch": space.to_text(space.largest), "test": 55.5, "latency_ms": 1e9}
    gone = {"space": SPACE, "seed": 0, "folder": "hand-0", "networks": [row | {"test": 77.7}, other]}
    before = {"data": pictures_file.stem, "conditions": {"precision": "int8"}, "fronts": [gone]}
    hand = tmp_path / "hand-0"
    shutil.copytree(files, hand)
    (found,) = measured([hand], str(pictures_file), DEVICE, 0.05, before)["fronts"]
    assert [row["arch"] for row in found["networks"]] == [row["arch"], other["arch"]]
    assert "file" in found["networks"][0] and found["networks"][0]["test"] != 77.7
    assert "file" not in found["networks"][1] and found["networks"][1]["test"] == 55.5 and "not kept" in found["files"]
    trained = json.loads((hand / RECORD).read_text()) | {"alone": {"epochs": 9}}
    (hand / RECORD).write_text(json.dumps(trained))
    (found,) = measured([hand], str(pictures_file), DEVICE, 0.05, before)["fronts"]
    assert [row["arch"] for row in found["networks"]] == [row["arch"]]
