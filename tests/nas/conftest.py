"""A tiny run, trained and profiled once by the real command line, for all tests of the product."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

OPTIONS = ["-o", "width=0.1", "-o", "stem_stride=2"]


@pytest.fixture(scope="session")
def nas():
    """Runs `nas ARGS` in its own process; returns the completed process."""

    def call(*arguments, timeout=1200, cwd=None):
        command = [sys.executable, "-m", "nas", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=cwd)

    return call


@pytest.fixture(scope="session")
def pictures_file(tmp_path_factory) -> Path:
    """A data set of 12 px pictures whose class is the bright quarter."""
    rng = np.random.default_rng(0)

    def make(n):
        labels = np.arange(n) % 4
        images = rng.integers(0, 90, size=(n, 12, 12, 1))
        for i, label in enumerate(labels):
            y, x = divmod(label, 2)
            images[i, 6 * y : 6 * y + 6, 6 * x : 6 * x + 6] += 120
        return images.astype(np.uint8), labels.astype(np.int64)

    path = tmp_path_factory.mktemp("data") / "quarters.npz"
    (x, y), (tx, ty) = make(480), make(120)
    np.savez(path, x_train=x, y_train=y, x_test=tx, y_test=ty)
    return path


@pytest.fixture(scope="session")
def made_run(tmp_path_factory, worker_id, pictures_file, nas) -> Path:
    """A trained, profiled and searched run: made once for all processes of the tests, which leave it as it is."""
    folder = tmp_path_factory.getbasetemp()
    made = (folder if worker_id == "master" else folder.parent) / "quarters"
    with FileLock(made.with_suffix(".lock")):
        if not made.exists():
            _made(made.with_suffix(".part"), pictures_file, nas).rename(made)
    return made


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, made_run) -> Path:
    """A copy of that run for the tests of one file."""
    return Path(shutil.copytree(made_run, tmp_path_factory.mktemp("runs") / "quarters"))


def _made(folder, pictures_file, nas) -> Path:
    training = ["--epochs", 6, "--batch-size", 32, "--validation", 80, "--random-subnets", 1]
    for arguments in (
        ["train", "ofa_mbv3", "--data", pictures_file, "--out", folder, *training, *OPTIONS],
        ["profile", folder],
        ["search", folder, "--evaluations", 14, "--batch", 4, "--measured", 5, "--workers", 2],
    ):
        done = nas(*arguments)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def front(run_folder) -> dict:
    """What the search found."""
    return json.loads((run_folder / "search" / "front-local-cpu-1t.json").read_text())


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium, headless, behind Playwright's API; the test is skipped where there is none.

    It must not outlive its module: Playwright runs an event loop in this thread, and no other can start meanwhile.
    """
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra [dev]")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("needs a browser: chromium, chromium-browser or google-chrome")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()
