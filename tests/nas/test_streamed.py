"""Runs on streamed pictures, and over two hosts, by the real command line."""

import json
import subprocess
import sys

import numpy as np

from tests.supernets.data.test_stream import folder  # noqa: F401 (a fixture)
from tests.supernets.test_placement import free_address

ARCH = "01200000"


def command(pictures, out, *more):
    training = ["--epochs", 2, "--batch-size", 16, "--validation", 8, "--method", "scratch", "--arch", ARCH]
    return ["train", "nasbench_macro", "--data", pictures, "--out", out, "--size", 16, *training, *more]


def test_streamed_run_is_evaluated_and_two_hosts_train_it_alike(nas, tmp_path, request):
    pictures = request.getfixturevalue("folder")
    done = nas(*command(pictures, tmp_path / "one", "--stream", "--json"))
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert config["data"]["stream"] and config["space"]["options"]["image_size"] == 16
    done = nas("eval", tmp_path / "one", "--arch", ARCH, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["networks"][0]["accuracy"] >= 25  # four classes, told apart by colour
    refused = nas(*command(pictures, tmp_path / "three", "--stream", "--shift", 1))
    assert refused.returncode == 2 and "--shift" in refused.stderr, refused.stderr
    address, processes = free_address(), []
    for host in range(2):
        arguments = command(pictures, tmp_path / "two", "--stream", "--hosts", f"{address},2,{host}", "--json")
        line = [sys.executable, "-m", "nas", *map(str, arguments)]
        processes.append(subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    outputs = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    first, second = ([line for line in out.splitlines() if "Gloo" not in line] for out, _ in outputs)  # XLA's own word
    assert second == [] and json.loads("".join(first))["epochs"] == 2
    csv = [(tmp_path / name / "supernet" / "metrics.csv").read_text().split() for name in ("one", "two")]
    rows = [[float(x) for x in line.split(",")[:3]] for lines in csv for line in lines[1:]]
    np.testing.assert_allclose(rows[:2], rows[2:], rtol=1e-3)
