"""Faults of the machine: writes cut off at every step, a full disk, a clock that jumps, too little memory."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
# Every look at the clock jumps by more than a year, forth and back.
JUMPING = """
import itertools, sys, time
real, count = time.time, itertools.count()
time.time = lambda: real() + (4e7 if next(count) % 2 else -4e7)
from nas.__main__ import main
main(sys.argv[1:])
"""


def test_every_write_leaves_a_whole_version_whenever_it_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{HERE.parents[2]}{os.pathsep}{HERE.parents[2] / 'scripts'}")
    command = [sys.executable, HERE.with_name("write_faults.py"), tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 9
    for row in rows:
        assert set(row["versions"]) <= {1, 2} and row["kills"] >= 1 and row["full"] >= 1, row


def test_a_clock_that_jumps_changes_nothing(run_folder, nas, tmp_path):
    arguments = ["--searcher", "random", "--evaluations", "6", "--workers", "0", "--seed", "7"]
    logs = []
    for name, command in (("steady", ["-m", "nas"]), ("jumping", ["-c", JUMPING])):
        copy = tmp_path / name
        shutil.copytree(run_folder, copy)
        command = [sys.executable, *command, "search", str(copy), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        logs.append((copy / "search" / "local-cpu-1t-random-seed7.jsonl").read_bytes())
    assert logs[0] == logs[1] and logs[0].count(b"\n") == 7


def test_too_little_memory_is_said_in_one_line(tmp_path):
    """400 MB of pictures where a process may have 600 MB in all, the interpreter and its libraries included."""
    images = np.zeros((130_000, 32, 32, 3), np.uint8)
    labels = np.arange(len(images)) % 2
    np.savez_compressed(tmp_path / "d.npz", x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
    command = [sys.executable, "-m", "nas", "data", "check", str(tmp_path / "d.npz")]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20)),
    )
    assert done.returncode == 2 and done.stderr.startswith("error: Not enough memory"), done.stderr
    assert len(done.stderr.splitlines()) == 1 and [p.name for p in tmp_path.iterdir()] == ["d.npz"]
