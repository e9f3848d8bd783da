"""Objectives and limits beside error and latency, through the real command line and on their own."""

import json
import shutil

import numpy as np
import pytest

from nas.costs import make_cost, parse_limits
from nas.errors import UserError
from nas.front import candidates
from nas.pareto import pareto_front
from search_spaces import SpaceError, get_space
from search_spaces.operators import stored_bytes

SEARCH = ["--evaluations", 10, "--batch", 4, "--seed", 3, "--measured", 4, "--workers", 0, "--json"]
OWN = "def widest(network):\n    return max(shape[0] for shape in network.shapes)\n"


@pytest.mark.parametrize(
    ("name", "of_network"),
    [
        ("macs", lambda n: n.macs),
        ("params", lambda n: n.params),
        ("size_bytes", lambda n: n.weight_bytes),
        ("size_bytes:int8", lambda n: sum(stored_bytes(op, 8) for op in n)),
        ("peak_memory_bytes", lambda n: n.peak_memory),
    ],
)
@pytest.mark.parametrize("space", ["ofa_mbv3", "fbnet"])
def test_costs_are_those_of_the_networks(space, name, of_network, rng):
    space = get_space(space)
    X = space.sample(rng, 20)
    assert make_cost(name, space).values(X) == pytest.approx([of_network(space.network(x).live) for x in X])


def test_own_function(tmp_path, rng):
    space = get_space("ofa_mbv3")
    X = space.sample(rng, 3)
    file = tmp_path / "mine.py"
    file.write_text(OWN + "def wrong(network):\n    return float('nan')\nunused = 3\n")
    cost = make_cost(f"{file}:widest", space)
    assert cost.values(X).tolist() == [max(s[0] for s in space.network(x).shapes) for x in X] and not cost.known
    with pytest.raises(UserError, match="must be finite"):
        make_cost(f"{file}:wrong", space).values(X)
    for name, message in [(":unused", "has no function"), (":absent", "it has: widest, wrong")]:
        with pytest.raises(SpaceError, match=message):
            make_cost(f"{file}{name}", space)
    file.write_text("raise KeyError('x')\n")
    with pytest.raises(SpaceError, match="fails with KeyError"):
        make_cost(f"{file}:widest", space)


def test_energy_is_measured_where_the_machine_reports_it(tmp_path, monkeypatch, nas, made_run):
    """Counters in a folder of our own: the cost is positive and measured alone; without any, one clear line."""
    from latency_tables import DeviceError, energy

    monkeypatch.setattr(energy.energy_zones, "__defaults__", (tmp_path,))
    space = get_space("ofa_mbv3", width=0.1, resolutions=32)
    with pytest.raises(DeviceError, match="No energy counter"):
        make_cost("energy_mj", space)
    place = tmp_path / "intel-rapl:0"
    place.mkdir()
    for name, text in (("name", "package-0"), ("max_energy_range_uj", "999999"), ("energy_uj", "5")):
        (place / name).write_text(text)
    cost = make_cost("energy_mj", space)
    assert cost.alone and not cost.known
    monkeypatch.setattr(energy.measure_energy, "__kwdefaults__", {"seconds": 0.05, "clock": None})
    assert cost.values(space.sample(np.random.default_rng(0), 1)).tolist() == [0.0]  # the counter stands still
    found = {row["what"]: row for row in json.loads(nas("doctor", "--json").stdout)["findings"]}
    if found["energy counters"]["state"] != "ok":
        for command in (
            ["search", made_run, "--objective", "energy_mj"],
            ["measure", made_run, "--energy", "--arch", "x"],
        ):
            done = nas(*command)
            assert done.returncode == 2 and "No energy counter" in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1


def test_bad_names_and_limits():
    with pytest.raises(UserError, match="'energy' is unknown"):
        make_cost("energy", get_space("ofa_mbv3"))
    assert parse_limits(["params=5e6", "latency:pi=3"]) == {"params": 5e6, "latency:pi": 3.0}
    for text in ("params", "=3", "params=many", "params=-1", "params=nan"):
        with pytest.raises(UserError, match="NAME=NUMBER"):
            parse_limits([text])
    with pytest.raises(UserError, match="twice"):
        parse_limits(["params=1", "params=2"])


def test_candidates_leave_out_what_is_taken():
    Y = np.array([[1, 9.0], [2, 5], [3, 4], [4, 3], [5, 6]])
    assert candidates(Y, np.array([np.inf, 5]), 9).tolist() == [1, 2, 3]
    assert candidates(Y, np.array([np.inf, 5]), 9, taken=[2]).tolist() == [1, 3]


@pytest.mark.slow  # docs/pages/guides/objectives.md runs the same commands, but looks at nothing
@pytest.mark.parametrize("device", ["local-cpu-1t", "local-cpu-1t-int8"])
def test_search_with_further_objectives(run_folder, tmp_path, nas, device):
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    (tmp_path / "mine.py").write_text(OWN)
    if not (run / "tables" / f"{device}.parquet").is_file():
        done = nas("profile", run, "--device", device)
        assert done.returncode == 0, done.stderr
    own = f"{tmp_path}/mine.py:widest"
    objectives = ["--objective", f"latency:{device}", "--objective", own, "--at-most", "params=9e4"]
    done = nas("search", run, *SEARCH, *objectives)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    names = [f"latency:{device}", own, "params"]
    assert document["objectives"] == ["error", "latency_ms", *names] and document["limits"] == {"params": 9e4}
    Y = []
    for entry in document["front"]:
        assert list(entry["costs"]) == names
        assert entry["costs"]["params"]["value"] == entry["params"] <= 9e4
        assert 0 < entry["costs"][names[0]]["value"] <= entry["costs"][names[0]]["upper"]
        costs = [cost["value"] for cost in entry["costs"].values()]
        Y.append([100 - entry["accuracy"], entry["latency_ms"]["median"], *costs])
    assert len(Y) and len(pareto_front(np.array(Y))) == len(Y)
    assert np.array(document["evaluated_costs"]).shape == (10, 3)
    again = nas("search", run, *SEARCH, *objectives)
    assert json.loads(again.stdout)["evaluated_costs"] == document["evaluated_costs"]
    for command in (["report", run], ["report", run, "--picture", tmp_path / "p.png"]):
        assert nas(*command).returncode == 0
    (tmp_path / "mine.py").write_text(OWN + "# changed\n")
    refused = nas("search", run, *SEARCH, *objectives)
    assert refused.returncode == 2 and "was begun with objectives=" in refused.stderr
    infeasible = nas("search", run, *SEARCH, "--fresh", "--at-most", "params=10")
    assert infeasible.returncode == 2 and "raise them" in infeasible.stderr
