"""`nas runs` and `nas doctor`, on run folders written by hand: nothing is trained."""

import json
import os

import numpy as np
import pytest

from nas.run_summary import leftovers
from nas.runs import Run
from search_spaces import get_space


@pytest.fixture
def runs(tmp_path):
    made = []
    for name, epochs, accuracy in (("a", 3, 80.0), ("b", 5, 85.0)):
        folder = tmp_path / "runs" / name
        Run.create(folder, get_space("ofa_mbv3"), data={"source": "x.npz"}, train={"epochs": epochs})
        (folder / "search").mkdir()
        (folder / "search" / "front-phone.json").write_text(json.dumps(front_document(accuracy)))
        made.append(folder)
    return made


def front_document(accuracy):
    """A front of one network, with every key that a search writes."""
    space = get_space("ofa_mbv3")
    latency = {"median": 2.0, "p10": 1.9, "p90": 2.2, "upper": 2.1}
    entry = {
        "arch": space.to_text(space.sample(np.random.default_rng(0), 1)[0]),
        **{"macs": 1, "params": 1, "peak_memory_bytes": 1, "accuracy": accuracy, "latency_runs": 40},
        **{"latency_ms": latency, "predicted_latency_ms": {"median": 2.0, "low": 1.9, "high": 2.2}},
    }
    text = ("device", "cpu", "provider", "precision", "onnxruntime")
    return {
        **{"format": 1, "run": "run", "device": "phone", "limit_ms": None, "searcher": "random", "seed": 0},
        "space": {"name": space.name, "options": space.options},
        "conditions": {**dict.fromkeys(text, "x"), "threads": 1, "batch": 1},
        **{"evaluations": 9, "validation_images": 10, "front": [entry], "over_limit": [], "baselines": []},
        **{"hypervolume": 1.0, "reference": [20.0, 3.0], "curve": [[9, 1.0]], "evaluated": [[20.0, 2.0]]},
        "predictor": {"rmse": 1.0, "kendall_tau": 0.5, "subnets": 1, "predicted": [20.0]},
        "table": {"held_out": {}, "kernels": 1},
    }


def test_list_and_compare(nas, runs):
    rows = json.loads(nas("runs", "list", runs[0].parent, "--json").stdout)["runs"]
    assert [(row["device"], row["best %"], row["epochs"]) for row in rows] == [("phone", 80.0, 3), ("phone", 85.0, 5)]
    document = json.loads(nas("runs", "compare", *runs, "--device", "phone", "--json").stdout)
    assert document["differences"] == {"train.epochs": [3, 5]}
    assert document["fronts"][1]["hypervolume"] > document["fronts"][0]["hypervolume"] > 0
    one = nas("runs", "compare", runs[0])
    assert one.returncode == 2 and "at least two" in one.stderr
    assert nas("runs", "compare", *runs).returncode == 2  # no front on the default device


def test_clean_removes_only_what_dead_processes_left(nas, runs):
    dead, mine = runs[0] / ".config.json.999999999.tmp", runs[0] / f".report.html.{os.getpid()}.tmp"
    hidden = runs[0] / ".notes"
    for path in (dead, mine, hidden):
        path.touch()
    assert leftovers(runs[0]) == [dead]
    assert nas("runs", "clean", runs[0]).returncode == 0 and dead.exists()
    assert nas("runs", "clean", runs[0], "--yes").returncode == 0
    assert not dead.exists() and mine.exists() and hidden.exists() and (runs[0] / "config.json").exists()


def test_doctor_runs_a_network_on_the_cpu(nas):
    done = nas("doctor", "--json")
    assert done.returncode == 0, done.stderr
    found = {row["what"]: row for row in json.loads(done.stdout)["findings"]}
    assert found["CPUExecutionProvider"]["state"] == "ok" and found["python"]["state"] == "ok"
    assert "local-cpu-1t" in found["devices"]["detail"]
