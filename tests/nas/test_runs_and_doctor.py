"""`nas runs` and `nas doctor`, on run folders written by hand: nothing is trained."""

import json
import os

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
        entry = {"accuracy": accuracy, "latency_ms": {"median": 2.0}}
        front = {"front": [entry], "searcher": "random", "evaluations": 9}
        (folder / "search" / "front-phone.json").write_text(json.dumps(front))
        made.append(folder)
    return made


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
