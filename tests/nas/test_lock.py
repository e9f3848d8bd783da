"""Two processes on one run: the second is told who holds it; a dead holder holds nothing."""

import os
import signal
import subprocess
import sys

import pytest

from nas.errors import RunError
from nas.lock import locked

HOLD = "import sys, time; from pathlib import Path; from nas.lock import locked\n" + (
    "with locked(Path(sys.argv[1]), 'nas search'): print('held', flush=True); time.sleep(60)"
)


def test_second_process_is_refused_until_the_first_dies(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=rf"process {holder.pid} \(nas search\)"), locked(tmp_path, "nas train"):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    with locked(tmp_path, "nas train"):
        pass
    with locked(tmp_path, "nas train"):  # and after a clean end
        pass


def test_parts_of_a_run_are_held_side_by_side_but_not_beside_the_whole(tmp_path):
    with locked(tmp_path, "nas search", "phone"), locked(tmp_path, "nas search", "server"):
        with pytest.raises(RunError, match=rf"process {os.getpid()} \(nas search\)"), locked(tmp_path, "nas train"):
            pass
        with pytest.raises(RunError, match="nas search"), locked(tmp_path, "nas export", "phone"):
            pass
    with locked(tmp_path, "nas train"), pytest.raises(RunError, match="nas train"):  # noqa: SIM117
        with locked(tmp_path, "nas search", "phone"):
            pass


def test_the_command_says_so_in_one_line(tmp_path, pictures_file, nas):
    with locked(tmp_path / "run", "nas search"):
        done = nas("train", "ofa_mbv3", "--data", pictures_file, "--out", tmp_path / "run")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "is in use by process" in done.stderr
