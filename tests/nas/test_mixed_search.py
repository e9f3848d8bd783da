"""`nas search --precision mixed`, `nas export --mixed`, and searchers on a space of architecture and precision."""

import json

import numpy as np
import onnx
import pytest

from nas.pareto import pareto_front
from nas.search import make_searcher
from predictors.mixed_precision import MixedCost
from search_spaces import get_space
from search_spaces.mixed import MixedSpace

SEARCH = ["--precision", "mixed", "--objective", "size_bytes", "--evaluations", 8, "--batch", 4, "--measured", 3]
QUIET = ["--workers", 0, "--json"]


def test_a_device_without_an_int8_table_is_told(nas, run_folder):
    done = nas("search", run_folder, *SEARCH)
    assert done.returncode == 2 and "nas profile" in done.stderr and "local-cpu-1t-int8" in done.stderr
    for arguments, word in (
        (["--device", "local-cpu-1t-int8"], "INT8 twin"),
        (["--searcher", "optuna-tpe"], "another one"),
        (["--accuracy", "zero-cost"], "trained supernet"),
    ):
        done = nas("search", run_folder, *SEARCH, *arguments)
        assert done.returncode == 2 and word in done.stderr and len(done.stderr.strip().splitlines()) == 1
    done = nas("export", run_folder, "--mixed")
    assert done.returncode == 2 and "no mixed front" in done.stderr


@pytest.fixture(scope="module")
def searched(nas, run_folder):
    done = nas("profile", run_folder, "--device", "local-cpu-1t-int8", "--networks", 8)
    assert done.returncode == 0, done.stderr
    done = nas("search", run_folder, *SEARCH, *QUIET)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_is_searched_is_what_is_exported(nas, run_folder, searched):
    space = MixedSpace(get_space("ofa_mbv3", **searched["space"]["options"]))
    Y = [[e["latency_ms"]["median"], 100 - e["accuracy"], e["costs"]["size_bytes"]["value"]] for e in searched["front"]]
    assert len(Y) and len(pareto_front(np.array(Y))) == len(Y)
    assert {space.to_text(space.parse(e["arch"])) for e in searched["baselines"]} >= {
        e["arch"] for e in searched["baselines"]
    }
    assert searched["conversions"]["error_after"] < 1
    mixed = max(searched["front"], key=lambda e: len(set(e["arch"].partition("+")[2])))
    done = nas("export", run_folder, "--mixed", "--pick", mixed["arch"], "--pick", "fastest", "--json")
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)["exports"][0]
    assert card["precision"] == "mixed" and card["arch"] == mixed["arch"]
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in onnx.load(card["path"]).graph.initializer}
    network, precision = space.network(space.parse(mixed["arch"])), space.precision(space.parse(mixed["arch"]))
    for op in network:
        if op.weight_elements:
            assert (f"{op.name}.weight_quantized" in constants) == (op.name in precision)
            if op.name in precision:  # symmetric: a scale a channel
                scales = constants[f"{op.name}.weight_scale"].size
                assert scales == (1 if precision[op.name] == "asymmetric" else op.out_shape[0])


def test_an_interrupted_search_resumes(nas, run_folder, searched):
    log = run_folder / "search" / "mixed-local-cpu-1t-ehvi-seed0.jsonl"
    whole = log.read_bytes()
    log.write_bytes(b"".join(whole.splitlines(keepends=True)[:5]))
    again = nas("search", run_folder, *SEARCH, *QUIET)
    assert again.returncode == 0, again.stderr
    assert log.read_bytes() == whole


@pytest.mark.parametrize(
    "searcher", ["ehvi", "linas", "nsga2", "nsga3", "aging", "ofa", "sensitivity", "netadapt", "random"]
)
@pytest.mark.parametrize("name", ["ofa_mbv3", "ofa_resnet50"])
def test_every_searcher_searches_precision(name, searcher):
    space = MixedSpace(get_space(name, resolutions=64))
    cost = MixedCost(space, lambda op: op.macs + 1e5, lambda op: 0.4 * op.macs + 2e5)
    bits = space.on_integers

    def error(X):
        return 50 - 10 * np.log10(cost(X)) + 5 * bits(X).mean(axis=1)

    made = make_searcher(searcher, space, seed=1, known={1: cost}, limits={1: None})
    for _ in range(3):
        X = made.ask(8)
        assert (space.canonical(X) == X).all() and len(np.unique(X, axis=0)) == len(X)
        made.tell(X, np.stack([error(X), cost(X)], axis=1))
    assert len(made.X) >= 12  # a few searchers end early
