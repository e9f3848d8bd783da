"""`nas measure`, `nas describe --device`, bundles, INT8 and comparisons through the command line."""

import json
import os
import subprocess
import sys

import pytest

from tests.nas.test_bad_input import refused

SPACE = ["ofa_mbv3", "-o", "width=0.1", "-o", "resolutions=8", "-o", "stem_stride=1", "-o", "num_classes=4"]
FEW = ["--networks", 8]
ARCH = "r8_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder of tables, and `nas` run in it."""
    folder = tmp_path_factory.mktemp("tables")

    def call(*arguments):
        command = [sys.executable, "-m", "nas", *map(str, arguments)]
        environment = {**os.environ, "NAS_TABLES": str(folder)}
        return subprocess.run(command, capture_output=True, text=True, timeout=1200, env=environment)

    return folder, call


@pytest.fixture(scope="module")
def profiled(tables):
    """fp32 measured here, INT8 measured from a bundle as if elsewhere."""
    folder, nas = tables
    done = nas("profile", *SPACE, *FEW, "--json")
    assert done.returncode == 0, done.stderr
    device = folder / "board.toml"
    device.write_text('name = "board"\nwhere = "bundle"\nprecision = "int8"\n')
    bundle = folder / "b.zip"
    done = nas("profile", *SPACE, *FEW, "--device", device, "--bundle", bundle, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] == bundle.stat().st_size
    ran = subprocess.run([sys.executable, str(bundle)], capture_output=True, text=True, timeout=1200)
    assert ran.returncode == 0, ran.stderr
    done = nas("profile", *SPACE, *FEW, "--device", device, "--import", folder / "b.results.zip", "--json")
    assert done.returncode == 0, done.stderr
    return folder, nas, device


def test_measure_before_a_table_exists(tables):
    _, nas = tables
    device = ["--device", "local-cpu"]
    done = nas("measure", *SPACE, "--arch", ARCH, *device, "--seconds", 0.5, "--end-to-end", 32, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    ms = document["latency_ms"]
    assert 0 < ms["low"] <= ms["median"] <= ms["high"] and "at_table_speed_ms" not in document
    assert document["end_to_end_ms"] == pytest.approx(ms["median"] + document["preprocess_ms"]["median"])


def test_measure_beside_the_tables_reference(profiled):
    _, nas, _ = profiled
    done = nas("measure", *SPACE, "--arch", ARCH, "--seconds", 0.5, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document) >= {"latency_ms", "at_table_speed_ms", "predicted_ms", "runs", "arch", "device"}
    described = nas("describe", *SPACE, "--arch", ARCH, "--device", "local-cpu-1t", "--json")
    assert json.loads(described.stdout)["latency_ms"] == document["predicted_ms"]


def test_compare_writes_a_table_and_a_picture(profiled, tmp_path):
    folder, nas, device = profiled
    picture = tmp_path / "p.png"
    done = nas("profile", *SPACE, "--compare", "local-cpu-1t", device, "--plot", picture, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["conditions"]["precision"] == ["fp32", "int8"] and picture.read_bytes()[:4] == b"\x89PNG"
    whole = document["kinds"][0]
    assert whole["kernels"] == sum(kind["kernels"] for kind in document["kinds"][1:])
    assert whole["ratio"] == pytest.approx(whole["b_ms"] / whole["a_ms"])
    (a, b) = sorted(folder.glob("*.parquet"))
    assert nas("profile", "--compare", a, b).returncode == 0


def test_mistakes(profiled, tmp_path):
    folder, nas, device = profiled
    refused(nas("profile"), "SPACE is missing", "nas spaces")
    refused(nas("profile", *SPACE, "--device", device, "--fresh"), "'board'", "--bundle", "--import")
    refused(nas("measure", *SPACE, "--arch", ARCH, "--device", device), "'board'", "--bundle")
    refused(nas("profile", *SPACE, "--plot", "x.png"), "--compare")
    refused(nas("profile", "--compare", "local-cpu-1t", "local-cpu"), "--compare", "SPACE")
    refused(nas("profile", "--compare", folder / "absent.parquet", folder / "b.parquet"), "absent.parquet")
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 not a zip")
    out = ["--out", tmp_path / "t.parquet"]
    refused(nas("profile", *SPACE, "--device", device, "--import", tmp_path / "bad.zip", *out), "bad.zip", "--import")
    refused(nas("profile", *SPACE, "--import", folder / "b.results.zip", *out), "another plan")
    refused(nas("profile", *SPACE, "--device", "ssh://nobody@127.0.0.1:1x"), "ssh://")
    refused(nas("profile", "kernels", "-o", "width=2"), "kernels", "--option")
    refused(nas("profile", "kernels", "--refine", 3), "--refine (=3)", "at least 8")
    refused(nas("measure", *SPACE, "--arch", "r8"), "Architecture")
    half = tmp_path / "half.toml"
    half.write_text('name = "half"\nprecision = "fp16"\n')
    refused(nas("profile", *SPACE, "--device", half, *out), "fp16", "CPUExecutionProvider")


@pytest.mark.slow
def test_models_of_kernels_in_two_rounds(nas, tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_TABLES", str(tmp_path))
    done = nas("profile", "kernels", "--networks", 8, "--refine", 8, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["predictor"]["kernels"] > document["kernels"] > 100
    arch = "r224_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3"
    described = nas("describe", "ofa_mbv3", "--arch", arch, "--device", "local-cpu-1t", "--json")
    latency = json.loads(described.stdout)["latency_ms"]
    assert 0 < latency["low"] <= latency["median"] <= latency["high"]
