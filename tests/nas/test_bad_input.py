"""Every mistake of a user: exit code 2, one clear line on stderr, nothing on stdout, nothing lost."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

TINY = ["--epochs", "2", "--batch-size", "32", "--validation", "80", "-o", "width=0.1", "-o", "stem_stride=2"]


@pytest.fixture
def nas_on_small_disk(tmp_path):
    """Runs `nas ARGS` beside a shell line, where {folder} is a file system of some size, mounted for these alone."""
    folder = tmp_path / "small"
    folder.mkdir()
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*alone, f"mount -t tmpfs none {folder}"]).returncode:
        pytest.skip("this machine lets no process mount a file system of its own")

    def call(size, beside, *arguments):
        beside = beside.format(folder=folder)
        script = f'mount -t tmpfs -o size={size} none {folder}; ({beside}) & exec "$0" -m nas "$@"'
        command = [*alone, script, sys.executable, *(str(a).format(folder=folder) for a in arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
        done.stderr = done.stderr.replace(str(folder), "{folder}")
        return done

    return call


def refused(done, *words):
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in lines[0], lines[0]


def test_unknown_space(nas):
    refused(nas("describe", "ofa_mbv4"), "'ofa_mbv4'", "ofa_mbv3")


def test_unknown_command_argument_and_value(nas):
    refused(nas("serch"), "serch", "nas --help")
    refused(nas("search", "--nope"), "--nope", "nas search --help")
    refused(nas("describe"), "SPACE", "nas describe --help")
    refused(nas("train", "ofa_mbv3", "--epochs", "many"), "--epochs", "many")
    assert nas().returncode == 2  # the help


def test_unknown_option_and_malformed_value(nas):
    refused(nas("describe", "ofa_mbv3", "-o", "depth=3"), "depth", "width")
    refused(nas("describe", "ofa_mbv3", "-o", "width=wide"), "width", "wide")


@pytest.mark.parametrize("text", ["", "r224", "r225_x", "../../etc/passwd", "r224_d2-k3e3-k3e3" * 50])
def test_malformed_architecture(nas, text):
    refused(nas("describe", "ofa_mbv3", "--arch", text), "Architecture")


def test_unknown_device(nas):
    refused(nas("profile", "ofa_mbv3", "--device", "toaster"), "'toaster'", "local-cpu-1t")


def test_table_of_another_device(nas, run_folder):
    table = run_folder / "tables" / "local-cpu-1t.parquet"
    refused(nas("search", run_folder, "--device", "local-cpu", "--table", table), "threads", "nas profile")


def test_no_table(nas, run_folder, tmp_path):
    refused(nas("search", run_folder, "--device", "local-cpu"), "nas profile", str(run_folder))


def test_empty_data_folder(nas, tmp_path):
    (tmp_path / "data").mkdir()
    refused(nas("train", "ofa_mbv3", "--data", tmp_path / "data", "--out", tmp_path / "run"), str(tmp_path / "data"))


def test_non_image_file(nas, tmp_path):
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            (tmp_path / "data" / split / name / "1.png").write_text("no picture")
    refused(nas("train", "ofa_mbv3", "--data", tmp_path / "data", "--out", tmp_path / "run"), "1.png")


def test_mislabelled_data(nas, tmp_path):
    images = np.zeros((8, 12, 12, 1), np.uint8)
    np.savez(tmp_path / "d.npz", x_train=images, y_train=np.arange(8) - 3, x_test=images, y_test=np.zeros(8, int))
    refused(nas("train", "ofa_mbv3", "--data", tmp_path / "d.npz", "--out", tmp_path / "run"), "label")


def test_infeasible_limit_says_the_minimum(nas, run_folder):
    before = sorted(p.name for p in (run_folder / "search").iterdir())
    refused(nas("search", run_folder, "--limit-ms", "0.0001"), "0.0001", "fastest network", "ms on local-cpu-1t")
    assert sorted(p.name for p in (run_folder / "search").iterdir()) == before


def test_corrupt_checkpoint(nas, run_folder, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run_folder, copy)
    for path in (copy / "supernet").rglob("*"):
        if path.is_file() and path.name != "metrics.csv":
            path.write_bytes(path.read_bytes()[:5])
    refused(nas("search", copy, "--fresh"), "damaged")


def test_corrupt_config_and_table(nas, run_folder, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run_folder, copy)
    (copy / "tables" / "local-cpu-1t.parquet").write_bytes(b"PAR1 not really")
    refused(nas("search", copy), "local-cpu-1t.parquet")
    (copy / "config.json").write_text("{")
    refused(nas("search", copy), "config.json", "damaged")


def test_no_run_folder(nas, tmp_path):
    refused(nas("search", tmp_path / "nothing"), "no run folder", "nas train")


def test_read_only_folder(nas, pictures_file):
    refused(nas("train", "ofa_mbv3", "--data", pictures_file, "--out", "/proc/nas-run"), "/proc/nas-run")


def test_full_disk_is_said_before_work_starts(nas_on_small_disk, pictures_file):
    train = ["train", "ofa_mbv3", "--data", pictures_file, "--out", "{folder}/run", *TINY]
    refused(nas_on_small_disk("3m", "true", *train), "{folder}", "MiB free")
    refused(
        nas_on_small_disk("3m", "true", "profile", "ofa_mbv3", "--out", "{folder}/t.parquet"), "{folder}", "MiB free"
    )


@pytest.mark.parametrize("appears", ["config.json", "supernet/metrics.csv"])
def test_disk_that_fills_up_during_training(nas_on_small_disk, pictures_file, appears):
    """Another program takes all the room at a moment of the run: before the first epoch, and after it."""
    fill = f"until [ -e {{folder}}/run/{appears} ]; do sleep 0.05; done; cat /dev/zero > {{folder}}/other 2>/dev/null"
    train = ["train", "ofa_mbv3", "--data", pictures_file, "--out", "{folder}/run", *TINY]
    refused(nas_on_small_disk("70m", fill, *train), "No space left")


def test_unfit_pick(nas, run_folder):
    refused(nas("export", run_folder, "--pick", "latency_ms<=0.0000001"), "latency_ms", "spans")
    refused(nas("export", run_folder, "--pick", "__import__('os')"), "not understood")


def test_changed_search_option_is_named(nas, run_folder):
    refused(nas("search", run_folder, "--evaluations", "14", "--batch", "5"), "batch=4", "5", "--fresh")


def test_ctrl_c_loses_nothing_and_resumes(nas, pictures_file, tmp_path):
    arguments = ["train", "ofa_mbv3", "--data", str(pictures_file), "--out", str(tmp_path / "run"), "--epochs", "40",
                 "--batch-size", "32", "--validation", "80", "-o", "width=0.1", "-o", "stem_stride=2"]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "nas", *arguments], stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "supernet" / "metrics.csv"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not metrics.exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2 and "Interrupted" in stderr and "Traceback" not in stderr, stderr
    steps = [int(p.name) for p in (tmp_path / "run" / "supernet").iterdir() if p.name.isdigit()]
    assert steps and max(steps) < 40 * 12
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["epochs"] == 40


def test_another_configuration_in_the_same_folder(nas, run_folder, pictures_file):
    done = nas("train", "ofa_mbv3", "--data", pictures_file, "--out", run_folder, "--epochs", 9, "--validation", 80)
    refused(done, "another --out")
