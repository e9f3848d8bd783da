"""One process for each accelerator, by the real command line."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from nas.errors import UserError
from nas.processes import run_joined, without_option
from tests.nas.test_streamed import command
from tests.supernets.data.test_stream import folder  # noqa: F401 (a fixture)


def losses(run):
    lines = (run / "supernet" / "metrics.csv").read_text().split()[1:]
    return [[float(x) for x in line.split(",")[:3]] for line in lines]


def test_two_processes_train_as_one_does_group_after_group(nas, tmp_path, request):
    pictures, groups = request.getfixturevalue("folder"), ("--norm-groups", 2)
    one = nas(*command(pictures, tmp_path / "one", *groups))
    assert one.returncode == 0, one.stderr
    two = nas(*command(pictures, tmp_path / "two", *groups, "--processes", 2, "--json"))
    assert two.returncode == 0, two.stderr
    assert json.loads(two.stdout[two.stdout.index("{") :])["epochs"] == 2  # before it, XLA's own word
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-3)
    assert json.loads((tmp_path / "two" / "config.json").read_text())["train"]["norm_groups"] == 2


@pytest.mark.slow
def test_interrupted_processes_save_and_go_on(tmp_path, request):
    arguments = command(request.getfixturevalue("folder"), tmp_path / "run", "--norm-groups", 2, "--processes", 2)
    arguments[arguments.index("--epochs") + 1] = 30
    line = [sys.executable, "-m", "nas", *map(str, arguments)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "supernet" / "metrics.csv"
    while not metrics.exists() or metrics.read_text().count("\n") < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 2 and "run the same command again" in told
    before = len(losses(tmp_path / "run"))
    assert before < 30
    again = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert [row[0] for row in losses(tmp_path / "run")] == list(range(1, 31))


def test_who_fails_first_stops_the_others_and_is_heard(capfd):
    waits = [sys.executable, "-c", "import time; time.sleep(600)"]
    fails = [sys.executable, "-c", "import sys; sys.exit('out of luck')"]
    began = time.monotonic()
    assert run_joined([waits, fails]) == 1
    assert time.monotonic() - began < 60
    assert "out of luck" in capfd.readouterr().err


def test_the_option_goes_and_the_rest_stays():
    line = ["train", "--processes", "2", "--out", "x", "--processes=3", "--seed", "2"]
    assert without_option(line, "--processes") == ["train", "--out", "x", "--seed", "2"]


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(UserError, match=r"--processes \(=2\) must not exceed the 1 GPUs"):
        run_joined([["true"], ["true"]])
