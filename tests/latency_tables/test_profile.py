"""Profiling a tiny space with real ONNX Runtime sessions, tables on disk, and their errors."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latency_tables import (
    Device,
    DeviceError,
    LatencyTable,
    MissingKernelError,
    TableError,
    device_side,
    get_device,
    measure,
    profile,
    profiling,
)
from latency_tables.measuring import Effort
from search_spaces import covering, get_space, reference_network

DEVICE = Device("test-cpu")


@pytest.fixture(scope="session")
def space():
    return get_space("ofa_mbv3", width=0.1, num_classes=4, resolutions=(8, 12), stem_stride=1, in_channels=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(profiling, "_EFFORT", Effort(rounds=(2, 2), seconds=1.0))
    monkeypatch.setattr(profiling, "_TRACE_ROUNDS", 1)


@pytest.fixture(scope="session")
def made(space, tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "t.parquet"
    return path, profile(space, DEVICE, path, fit=6, held_out=4)


def test_every_kernel_of_the_space_is_in_the_table(space, made):
    _, table = made
    assert set(table.kernels) == {key for arch in covering(space) for key in space.network(arch).kernels}
    for row in table.kernels.values():
        assert 0 < row.p10_ms <= row.median_ms <= row.p90_ms and row.runs > 0 and row.cost_ms > 0
    assert table.metadata["held_out"]["networks"] == 4


def test_round_trip(space, made):
    path, table = made
    again = LatencyTable.read(path)
    assert again == table
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing left beside it
    copy = path.with_name("copy.parquet")
    again.write(copy)
    assert LatencyTable.read(copy) == table
    copy.unlink()
    assert pq.read_schema(path).names[:2] == ["key", "precision"]


def test_prediction_is_a_sum_with_an_interval(space, made):
    _, table = made
    network = space.network(space.sample(np.random.default_rng(0), 1)[0])
    prediction = table.predict(network)
    assert prediction.low <= prediction.median <= prediction.high
    assert prediction.median == pytest.approx(table.constant_ms + sum(table.costs(op)[0] for op in network))


def test_a_missing_kernel_is_an_error_with_the_remedy(made):
    _, table = made
    with pytest.raises(MissingKernelError, match=r"^\d+ kernels .*'test-cpu', first: 'conv_.*`nas profile ofa_mbv3 "):
        table.predict(reference_network("mobilenet_v2"))


@pytest.mark.parametrize(
    ("change", "field"),
    [({"threads": 3}, "threads = 1"), ({"batch": 8}, "batch"), ({"provider_options": {"a": "1"}}, "provider_options")],
)
def test_a_table_of_other_conditions_is_refused(made, change, field):
    _, table = made
    table.check_device(replace(DEVICE, name="the-same-by-another-name"))
    with pytest.raises(TableError, match=f"measured with {field}.*nas profile ofa_mbv3 --device test-cpu"):
        table.check_device(replace(DEVICE, **change))


def test_a_table_of_another_onnxruntime_is_refused(made):
    _, table = made
    conditions = {**table.metadata["conditions"], "onnxruntime": "1"}
    old = replace(table, metadata={**table.metadata, "conditions": conditions})
    with pytest.raises(TableError, match="onnxruntime = '1'"):
        old.check_device(DEVICE)


def _write(path, made, change):
    data = pq.read_table(made[0])
    header = json.loads(data.schema.metadata[b"latency_table"])
    change(header)
    pq.write_table(data.replace_schema_metadata({b"latency_table": json.dumps(header)}), path)


def test_files_that_are_no_tables_are_refused(tmp_path, made):
    with pytest.raises(TableError, match="does not exist. Measure again with `nas profile"):
        LatencyTable.read(tmp_path / "absent.parquet")
    (tmp_path / "noise").write_bytes(made[0].read_bytes()[:500])
    with pytest.raises(TableError, match="not a readable Parquet file"):
        LatencyTable.read(tmp_path / "noise")
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "other")
    with pytest.raises(TableError, match="not a latency table"):
        LatencyTable.read(tmp_path / "other")
    _write(tmp_path / "future", made, lambda header: header.update(format_version=99))
    with pytest.raises(TableError, match="table format 99, this version reads format 2"):
        LatencyTable.read(tmp_path / "future")
    _write(tmp_path / "damaged", made, lambda header: header.clear())
    with pytest.raises(TableError, match="damaged metadata"):
        LatencyTable.read(tmp_path / "damaged")
    _write(tmp_path / "bare", made, lambda header: header["correction"].clear())
    with pytest.raises(TableError, match="damaged metadata"):
        LatencyTable.read(tmp_path / "bare")
    data = pq.read_table(made[0])
    pq.write_table(data.set_column(2, "median_ms", pa.array(["fast"] * len(data))), tmp_path / "typed")
    with pytest.raises(TableError, match="no column 'median_ms' of type double"):
        LatencyTable.read(tmp_path / "typed")
    zero = replace(made[1], kernels={"k": replace(next(iter(made[1].kernels.values())), cost_ms=0.0)})
    zero.write(tmp_path / "zero")
    with pytest.raises(TableError, match="kernel 'k' has no time above 0"):
        LatencyTable.read(tmp_path / "zero")


def test_a_killed_profile_continues(space, tmp_path, monkeypatch):
    from latency_tables import measuring

    monkeypatch.setattr(measuring, "MAX_SESSIONS", 4)
    traced: list[str] = []
    real = device_side.trace
    monkeypatch.setattr(device_side, "trace", lambda *a, **k: traced.append("batch") or real(*a, **k))
    path = tmp_path / "t.parquet"

    def stop(progress):
        if progress.stage == "networks" and progress.done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profile(space, DEVICE, path, fit=6, held_out=4, progress=stop)
    assert not path.exists()
    (part,) = tmp_path.iterdir()
    with part.open("a") as file:
        file.write('{"name": "networks 8", "rec')  # cut short by the kill
    before, names = len(traced), _names(part)
    seen = []
    table = profile(space, DEVICE, path, fit=6, held_out=4, progress=seen.append)
    assert len(traced) == before  # no kernel was measured twice
    assert any(name.startswith("networks") for name in names)
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
    assert set(table.kernels) == {key for arch in covering(space) for key in space.network(arch).kernels}
    assert seen[-1].done == seen[-1].total and seen[-1].seconds_left == pytest.approx(0, abs=0.5)


def _names(part):
    return [json.loads(line)["name"] for line in part.read_text().splitlines()[1:-1]]


def test_other_conditions_are_not_continued(space, tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profile(space, DEVICE, path, resolutions=[8], fit=4, held_out=2, progress=stop)
    table = profile(space, DEVICE, path, resolutions=[8], fit=4, held_out=2, seed=1)
    assert table.metadata["seed"] == 1 and table.metadata["resolutions"] == [8]


def test_unknown_resolutions_are_refused(space, tmp_path):
    with pytest.raises(ValueError, match=r"\[9\].*\[8, 12\]"):
        profile(space, DEVICE, tmp_path / "t.parquet", resolutions=[9])
    with pytest.raises(ValueError, match=r"held_out \(=1\) must be at least 2"):
        profile(space, DEVICE, tmp_path / "t.parquet", held_out=1)


def test_measure_keeps_order(space, tmp_path):
    import onnx

    from latency_tables import onnx_model

    small, large = (space.network(covering(space)[i]) for i in (0, -1))
    file = tmp_path / "m.onnx"
    onnx.save(onnx_model(small, batch="N"), file)
    steps = []
    found = measure([large, file, onnx_model(small)], DEVICE, effort=Effort(rounds=(3, 3)), progress=steps.append)
    assert len(found) == 3 and all(0 < x.p10_ms <= x.median_ms <= x.p90_ms for x in found)
    assert steps[-1].done == 3


def test_devices(tmp_path):
    assert get_device("local-cpu-1t").threads == 1
    with pytest.raises(DeviceError, match="'toaster' is unknown; choose one of: local-cpu-1t, local-cpu"):
        get_device("toaster")
    file = tmp_path / "d.toml"
    file.write_text('name = "kiosk"\nthreads = 2\n[provider_options]\narena_extend_strategy = "x"\n')
    assert get_device(file) == Device("kiosk", threads=2, provider_options={"arena_extend_strategy": "x"})
    bad = {
        "threads = 2": "lacks the key 'name'",
        'name = "a"\nthread = 2': "unknown key 'thread'",
        'name = "a"\nthreads = "2"': "threads .* must be a int",
        'name = "a"\nthreads = 0': "at least 1",
        'name = "a"\nprecision = "fp1"': "precision",
        'name = "a"\nwhere = "moon"': "where",
        'name = "a"\nprovider = "NoSuch"': "'NoSuch' is not in the installed ONNX Runtime",
        "name = ": "not valid TOML",
    }
    for text, message in bad.items():
        file.write_text(text)
        with pytest.raises(DeviceError, match=message):
            get_device(file)
    with pytest.raises(DeviceError, match="cannot be read"):
        get_device(tmp_path / "absent.toml")
