"""`nas quantize` on an exported file of a run, and on one that lies elsewhere."""

import json
import shutil

import onnx
import pytest

from nas.precision.allowed import DEPENDENCIES


@pytest.fixture(scope="module")
def exported(nas, run_folder):
    done = nas("export", run_folder, "--pick", "knee", "--pixels")
    assert done.returncode == 0, done.stderr
    return run_folder / "export" / "knee.onnx"


def test_quantise_with_the_runs_pictures(nas, exported):
    done = nas("quantize", exported, "--images", 64, "--each", "--json", "--method", "percentile")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["test_images"] == 120 and document["calibration_images"] == 64
    # Accuracy moves by no more than the share of images whose class changed.
    moved = abs(document["int8"]["accuracy"] - document["fp32"]["accuracy"])
    assert moved <= 100 - document["same_class"] + 1e-6 and document["same_class"] > 75
    assert document["int8"]["path"].endswith("knee.int8.onnx")
    assert all({"accuracy_change", "sqnr_db"} == row["alone"].keys() for row in document["operators"])
    report = exported.with_name("knee.int8.report.json")
    assert json.loads(report.read_text()) == document
    card = json.loads(exported.with_name("knee.int8.json").read_text())
    assert card["precision"] == "int8" and card["accuracy"] == document["int8"]["accuracy"]
    assert exported.with_name("knee.int8.py").is_file()


def test_named_operators_stay_in_float(nas, exported, tmp_path):
    done = nas("quantize", exported, "--float", "stem", "--images", 16, "--out", tmp_path / "some.onnx", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["floats"] == ["stem"]
    stem, *rest = document["operators"]
    assert stem["name"] == "stem" and stem["float_kernels"] == ["Conv"]
    assert any(not row["float_kernels"] for row in rest)


def test_a_file_elsewhere_needs_pictures(nas, exported, tmp_path, pictures_file):
    copy = shutil.copy(exported, tmp_path / "net.onnx")
    done = nas("quantize", copy)
    assert done.returncode == 2 and "add --data" in done.stderr
    done = nas("quantize", copy, "--data", pictures_file, "--images", 40, "--out", tmp_path / "small.onnx")
    assert done.returncode == 0 and "still in float" in done.stdout, done.stderr
    assert (tmp_path / "small.onnx").is_file() and not (tmp_path / "small.json").exists()


@pytest.mark.parametrize("order", ["random", pytest.param("augmented", marks=pytest.mark.slow)])
def test_mixed_precision_keeps_within_its_budget(nas, exported, order):
    """In any order; the Hessian of a network of depthwise filters takes a minute or two to compile."""
    done = nas("quantize", exported, "--images", 40, "--budget", 99, "--order", order, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads(exported.with_name("knee.mixed.report.json").read_text())
    rows = document["operators"]
    chosen = [row["name"] for row in rows if row["precision"] == "int8"]
    tried = document["validation_accuracy"]
    assert tried["by_operators"].get(str(len(chosen)), tried["fp32"]) >= 0.99 * tried["fp32"]
    if order == "augmented":
        assert all(row["hessian"] >= 0 for row in rows) and any(row["beside"] != 0 for row in rows)
        second = document["chosen"].endswith(DEPENDENCIES)
        assert all(row["sensitivity"] == max(row["hessian"], row["beside"] * second) for row in rows)
        assert {"most operators", "least time"} <= document["candidates_ms"].keys()
    if document["chosen"].startswith("most operators"):  # the least sensitive
        cost = {row["name"]: row["sensitivity"] for row in rows}
        assert {name for name in cost if cost[name] <= max(map(cost.get, chosen), default=-1)} == set(chosen)
    if order == "random":
        assert all(row["hessian"] is None and row["beside"] is None for row in rows)
    made = onnx.load(exported.with_name("knee.mixed.onnx"))
    weights = {c.name.removesuffix(".weight_quantized") for c in made.graph.initializer if "weight_quantized" in c.name}
    assert weights == {
        row["name"] for row in rows if row["name"] in chosen and row["key"][:4] in ("conv", "dw_i", "line")
    }
    times = document["candidates_ms"]
    assert document["mixed"]["latency_ms"]["median"] == min(times.values()) == times[document["chosen"]]
    card = json.loads(exported.with_name("knee.mixed.json").read_text())
    assert card["precision"] == "mixed" and card["accuracy"] == document["mixed"]["accuracy"]
    assert all(document[name]["latency_ms"]["median"] > 0 for name in ("fp32", "int8", "mixed"))


def test_a_file_without_operators_on_integers_is_called_what_it_is(capsys):
    """Its time may come out below that of the fp32 file, which it equals."""
    from nas.commands.quantize import _print_mixed

    state = {"path": "knee.onnx", "accuracy": 80.0, "file_bytes": 2048}
    files = {
        name: state | {"latency_ms": {"median": ms}} for name, ms in (("fp32", 0.3), ("int8", 0.4), ("mixed", 0.2))
    }
    row = {"name": "stem", "hessian": None, "beside": None, "fp32_ms": 0.1, "int8_ms": 0.2}
    more = {"order": "random", "test_images": 10, "same_class": 100.0, "chosen": "least time"}
    more |= {"candidates_ms": {"least time": 0.2}, "conversions": {"each_ms": 0.01}}
    for precision, said in (("fp32", True), ("int8", False)):
        _print_mixed(files | more | {"operators": [row | {"precision": precision}]})
        assert ("Ship fp32" in capsys.readouterr().out) == said


def test_mistakes_are_one_line(nas, exported, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"no model")
    for arguments, word in (
        ([tmp_path / "none.onnx"], "There is no file"),
        ([tmp_path / "x.onnx"], "no ONNX file"),
        ([exported.with_name("knee.pixels.onnx")], "preprocessing"),
        ([exported, "--method", "best"], "minmax, entropy, percentile"),
        ([exported, "--data", "fashion-mnist-6k"], "classes"),
        ([exported, "--budget", "200"], "at most 100"),
        ([exported, "--budget", "99", "--order", "best"], "augmented, hessian, random"),
        ([exported, "--order", "random"], "add --budget"),
        ([exported, "--budget", "99", "--each"], "leave out --budget"),
        ([exported, "--budget", "99", "--float", "stem"], "leave out --budget"),
        ([exported, "--float", "stem,stern"], "'stern'"),
    ):
        done = nas("quantize", *arguments)
        assert done.returncode == 2 and word in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
