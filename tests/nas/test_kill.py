"""Real kills: `kill -9` of the searching process and of Ray's workers; the log must not show it."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import os, sys, time
from pathlib import Path
import numpy as np
from nas.objective import Evaluations
from nas.search import make_searcher
from nas.search.asynchronous import search_asynchronously
from nas.workers import evaluators
from search_spaces import get_space

log, workers, pids = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
space = get_space("ofa_mbv3", width=0.25, num_classes=10, resolutions=(16,), stem_stride=1)
macs = lambda X: np.array([space.network(x).macs / 1e6 for x in X])

def evaluate(x):
    (pids / str(os.getpid())).touch()
    with (pids.parent / "evaluated.txt").open("a") as file:
        file.write(space.to_text(x) + "\\n")
    time.sleep(0.03)
    return 50.0 + space.network(x).params / 1e6

with evaluators(evaluate, workers=workers, address=None) as accuracies:
    searcher = make_searcher("nsga2", space, seed=1, known={1: macs})
    search_asynchronously(space, Evaluations(accuracies, macs), searcher=searcher, evaluations=150, window=8, log=log)
"""


def start(folder: Path, log: Path, workers: int) -> subprocess.Popen:
    (folder / "pids").mkdir(exist_ok=True)
    command = [sys.executable, "-c", SCRIPT, str(log), str(workers), str(folder / "pids")]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def undisturbed(folder: Path) -> bytes:
    process = start(folder, folder / "whole.jsonl", 0)
    assert process.wait(120) == 0, process.stderr.read()
    (folder / "evaluated.txt").unlink()
    return (folder / "whole.jsonl").read_bytes()


@pytest.mark.slow
def test_twenty_kills_leave_the_log_of_an_undisturbed_search(tmp_path):
    whole, rng, kills = undisturbed(tmp_path), random.Random(0), 0
    log = tmp_path / "killed.jsonl"
    while kills < 20:
        process, before = start(tmp_path, log, 0), lines(log)
        while lines(log) < before + rng.randrange(2, 7) and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.03)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert lines(log) < 151  # it was never finished
    assert start(tmp_path, log, 0).wait(120) == 0
    assert log.read_bytes() == whole
    evaluated = (tmp_path / "evaluated.txt").read_text().splitlines()
    assert 150 <= len(evaluated) <= 150 + kills  # one in flight at a kill


@pytest.mark.slow
def test_killed_ray_workers_leave_the_log_of_an_undisturbed_search(tmp_path):
    whole, log = undisturbed(tmp_path), tmp_path / "ray.jsonl"
    for file in (tmp_path / "pids").iterdir():
        file.unlink()
    process, killed = start(tmp_path, log, 2), set()
    for kill in range(5):
        while lines(log) < 1 + 20 * (kill + 1) and process.poll() is None:
            time.sleep(0.02)
        alive = [int(f.name) for f in (tmp_path / "pids").iterdir() if int(f.name) not in killed]
        os.kill(alive[kill % len(alive)], signal.SIGKILL)
        killed.add(alive[kill % len(alive)])
    assert process.wait(180) == 0, process.stderr.read()
    assert len(killed) == 5 and log.read_bytes() == whole
    evaluated = (tmp_path / "evaluated.txt").read_text().splitlines()
    assert 150 <= len(evaluated) <= 150 + len(killed)
