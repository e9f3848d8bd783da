"""Bundles run anywhere, continue after an interruption, and reading results runs and unpacks nothing."""

import ast
import json
import pickle
import subprocess
import sys
import zipfile
from copy import deepcopy

import pytest

from latency_tables import Device, TableError, device_side, profiling
from latency_tables.bundle import ImportedResults, write_bundle
from latency_tables.measuring import Effort
from latency_tables.plan import LocalExecutor
from latency_tables.profiling import run_study, space_study
from search_spaces import covering, get_space

DEVICE = Device("board", where="bundle")


@pytest.fixture(scope="module")
def space():
    return get_space("ofa_mbv3", width=0.1, num_classes=4, resolutions=(8,), stem_stride=1, in_channels=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(profiling, "_EFFORT", Effort(rounds=(2, 2), seconds=1.0))
    monkeypatch.setattr(profiling, "_TRACE_ROUNDS", 1)


@pytest.fixture
def study(space):
    return space_study(space, DEVICE, fit=4, held_out=2)


@pytest.fixture
def bundle(study, tmp_path):
    return write_bundle(study.plan(), tmp_path / "out.zip")


def run(bundle):
    return subprocess.run([sys.executable, str(bundle)], capture_output=True, text=True, cwd=bundle.parent, timeout=120)


def test_a_bundle_runs_by_itself_and_its_results_make_a_table(space, study, bundle, tmp_path):
    done = run(bundle)
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert {step["task"].partition(" ")[0] for step in steps} == {"kernels", "networks"}
    assert {p.name for p in tmp_path.iterdir()} == {
        *("out.zip", "out.results.jsonl", "out.results.jsonl.lock", "out.results.zip")
    }
    for results in ("out.results.zip", "out.results.jsonl"):
        table = run_study(study, tmp_path / "t.parquet", executor=ImportedResults(tmp_path / results))
        assert set(table.kernels) == {key for arch in covering(space) for key in space.network(arch).kernels}
        assert table.metadata["conditions"]["where"] == "bundle" and table.metadata["conditions"]["cpu"]
        table.check_device(DEVICE)  # what the CPU is over there cannot be known here


def test_an_interrupted_device_continues(study, bundle, tmp_path):
    results = tmp_path / "out.results.jsonl"

    class Unplugged(Exception):
        pass

    def pull_the_plug(line):
        if json.loads(line)["share"] == 1.0:
            raise Unplugged

    with pytest.raises(Unplugged):
        device_side.run_bundle(str(bundle), str(results), pull_the_plug)
    first = results.read_text().splitlines()
    with results.open("a") as file:
        file.write('{"name": "networks 0", "rec')  # cut short by the power loss
    with pytest.raises(TableError, match="lacks 1 of 2 tasks, first 'networks 0'.*Run the bundle there again"):
        run_study(study, tmp_path / "t.parquet", executor=ImportedResults(results))
    assert run(bundle).returncode == 0
    assert results.read_text().splitlines()[: len(first)] == first  # nothing was measured twice
    run_study(study, tmp_path / "t.parquet", executor=ImportedResults(results))


def test_results_of_another_plan_are_refused(space, bundle, tmp_path):
    assert run(bundle).returncode == 0
    other = space_study(space, DEVICE, fit=4, held_out=2, seed=1)
    with pytest.raises(TableError, match="measured for another plan"):
        run_study(other, tmp_path / "t.parquet", executor=ImportedResults(tmp_path / "out.results.zip"))


class Evil:
    """Touches a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_malicious_results_are_only_ever_data(tmp_path, study):
    outside, inside = tmp_path / "owned", tmp_path / "in"
    inside.mkdir()
    header = {"digest": study.plan().digest, "machine": device_side.fingerprint("CPUExecutionProvider")}
    slip = {"../owned": b"x", str(outside): b"x", "..\\owned": b"x", "__main__.py": b"open('../owned', 'w')"}
    cases = {
        "slip.zip": slip,
        "slip-and-results.zip": {**slip, "results.jsonl": json.dumps(header).encode() + b"\n"},
        "pickle.zip": {"results.jsonl": pickle.dumps(Evil(outside))},
        "nested.zip": {"results.jsonl": b"[" * 200_000 + b"\n"},
        "list.zip": {"results.jsonl": b"[1, 2]\n"},
        "machine.zip": {"results.jsonl": json.dumps({**header, "machine": {"cpu": "x" * 10**6}}).encode() + b"\n"},
        "empty.zip": {"results.jsonl": b""},
    }
    for name, members in cases.items():
        path = inside / name
        with zipfile.ZipFile(path, "w") as file:
            for member, data in members.items():
                file.writestr(member, data)
        with pytest.raises(TableError):
            run_study(study, inside / "t.parquet", executor=ImportedResults(path))
        assert not outside.exists() and not (inside / "t.parquet").exists()
    link = zipfile.ZipInfo("results.jsonl")
    link.external_attr = 0o120777 << 16  # a symbolic link
    with zipfile.ZipFile(inside / "link.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(TableError, match="holds no results"):
        ImportedResults(inside / "link.zip")
    with pytest.raises(TableError, match="holds no results"):
        ImportedResults(inside / "absent.zip")


def test_a_zip_bomb_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("latency_tables.bundle.MAX_RESULT_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("results.jsonl", b"0" * 1_000_000)
    with pytest.raises(TableError, match="more than 10000 bytes"):
        ImportedResults(tmp_path / "bomb.zip")


@pytest.fixture(scope="module")
def records(space):
    """Records of the study's plan; its tasks are those of the patched profile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profiling, "_EFFORT", Effort(rounds=(2, 2), seconds=1.0))
        patch.setattr(profiling, "_TRACE_ROUNDS", 1)
        plan = space_study(space, DEVICE, fit=4, held_out=2).plan()
        return dict(LocalExecutor().run(plan, (), lambda name, share: None))


@pytest.mark.parametrize(
    "change",
    [
        lambda records: records["networks 0"].update(latencies=[[1, 1, 1, 1, 1]]),
        lambda records: records["networks 0"]["latencies"][0].__setitem__(0, -1.0),
        lambda records: records["networks 0"]["latencies"][0].__setitem__(0, float("nan")),
        lambda records: records["networks 0"].update(anchors="none"),
        lambda records: records["kernels 0"].update(profiles=[]),
        lambda records: records["kernels 0"]["profiles"][0].update(graph="!!!"),
        lambda records: records["kernels 0"]["profiles"][0].update(graph="AAAA"),
        lambda records: records["kernels 0"]["profiles"][0].update(us=[[1.0]]),
        lambda records: records["kernels 0"]["profiles"][0].update(nodes=[]),
    ],
)
def test_damaged_records_are_refused(study, tmp_path, change, records):
    plan, records = study.plan(), deepcopy(records)
    change(records)
    header = {"digest": plan.digest, "machine": device_side.fingerprint("CPUExecutionProvider")}
    lines = [json.dumps(header), *(json.dumps({"name": n, "record": r}) for n, r in records.items())]
    (tmp_path / "r.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(TableError):
        run_study(study, tmp_path / "t.parquet", executor=ImportedResults(tmp_path / "r.jsonl"))
    assert not (tmp_path / "t.parquet").exists()


def test_the_device_side_is_one_file_for_python_3_8(root):
    source = (root / "latency_tables" / "device_side.py").read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    modules = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        for alias in (node.names if isinstance(node, ast.Import) else [ast.alias(getattr(node, "module", "") or "")])
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert modules - sys.stdlib_module_names == {"numpy", "onnxruntime"}
    newer = ("removeprefix", "removesuffix", "strict=", "slots=", "match ", "zoneinfo", "tomllib")
    assert not [word for word in newer if word in source]
