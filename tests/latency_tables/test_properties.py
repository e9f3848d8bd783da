"""Properties of tables and of the files beside them: what is written is read back, and a cut loses only its end."""

import json
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latency_tables import LatencyTable, MissingKernelError
from latency_tables.bundle import ImportedResults
from latency_tables.devices import Device, get_device
from latency_tables.errors import DeviceError, TableError
from latency_tables.journal import Journal
from latency_tables.table import KernelLatency
from search_spaces import get_space

CASES = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SPACE = get_space("ofa_mbv3", width=0.1, num_classes=2, resolutions=[12], stem_stride=2, in_channels=1)
ms = st.floats(1e-6, 1e6)
kernels = st.builds(KernelLatency, st.sampled_from(["fp32", "int8"]), ms, ms, ms, st.integers(1, 10**9), ms)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def metadata(low=0.9, high=1.1):
    return {
        "conditions": {"device": "d"},
        "space": {"name": SPACE.name, "options": SPACE.options},
        "correction": {"constant_ms": 0.25},
        "held_out": {"low": low, "high": high},
        "anchors": [],
    }


@CASES
@given(st.dictionaries(st.text(min_size=1, max_size=40).filter(lambda t: t.isprintable()), kernels, max_size=8))
def test_a_table_is_read_back_as_it_was_written(tmp_path, rows):
    table = LatencyTable(rows, metadata())
    table.write(tmp_path / "t.parquet")
    again = LatencyTable.read(tmp_path / "t.parquet")
    assert dict(again.kernels) == rows and again.metadata == table.metadata
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


@CASES
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 1.5), st.floats(0.5, 3.0), st.floats(0.01, 100))
def test_a_prediction_is_the_sum_of_its_kernels_within_its_interval(seed, low, high, factor):
    rng = np.random.default_rng(seed)
    network = SPACE.network(SPACE.sample(rng, 1)[0])
    cost = {key: float(c) for key, c in zip(dict.fromkeys(network.kernels), rng.uniform(0.01, 5, 999), strict=False)}

    def table(scale):
        rows = {key: KernelLatency("fp32", c, c, c, 1, scale * c) for key, c in cost.items()}
        return LatencyTable(rows, metadata(low, high))

    found = table(1.0).predict(network)
    assert found.median == pytest.approx(0.25 + sum(cost[key] for key in network.kernels))
    assert 0 < found.low <= found.median <= found.high
    assert table(factor).predict(network).median - 0.25 == pytest.approx(factor * (found.median - 0.25))
    lacking = dict(table(1.0).kernels)
    lacking.pop(network.kernels[0])
    with pytest.raises(MissingKernelError):
        LatencyTable(lacking, metadata()).predict(network)


@CASES
@given(
    st.lists(st.tuples(st.text(max_size=9), st.dictionaries(st.text(), json_values, max_size=3)), max_size=6), st.data()
)
def test_a_journal_cut_anywhere_keeps_all_records_before_the_cut(tmp_path, records, data):
    path = tmp_path / "journal.jsonl"
    journal, ends = Journal(path, {"device": "d"}, resume=False), [path.stat().st_size]
    for name, record in records:
        journal.add(name, record)
        ends.append(path.stat().st_size)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    again, kept = Journal(path, {"device": "d"}, resume=True), sum(cut >= end for end in ends[1:])
    expected = dict(records[:kept])
    assert all(again[name] == record for name, record in expected.items())
    assert not any(name in again for name, _ in records if name not in expected)
    for name, record in records:
        if name not in again:
            again.add(name, record)
    assert all(name in Journal(path, {"device": "d"}, resume=True) for name, _ in records)
    assert not any(name in Journal(path, {"device": "e"}, resume=True) for name, _ in records)


@CASES
@given(st.lists(st.text(max_size=9), unique=True, max_size=5), st.booleans(), st.data())
def test_results_cut_anywhere_are_their_beginning_or_refused(tmp_path, names, zipped, data):
    machine = {"cpu": "c", "cpu_flags": ["avx"], "accelerator": "", "onnxruntime": "1"}
    rows = [{"digest": "0", "machine": machine}, *({"name": name, "record": {"ms": [0.1]}} for name in names)]
    path = tmp_path / "results"
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if zipped:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("results.jsonl", text)
    else:
        path.write_text(text)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        found = ImportedResults(path)
    except TableError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert found.machine(Device("d")) == machine


@CASES
@given(
    st.dictionaries(
        st.sampled_from(["name", "where", "provider", "threads", "batch", "precision", "python", "nonsense"]),
        st.text(max_size=12) | st.integers(-5, 64) | st.booleans() | st.sampled_from(["local", "int8", "d"]),
    )
)
def test_a_device_file_is_read_as_it_says_or_refused(tmp_path, values):
    path = tmp_path / "d.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()), encoding="utf-8")
    try:
        device = get_device(path)
    except DeviceError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert all(getattr(device, key) == value for key, value in values.items())
