"""The docs build, and every snippet in them runs, in the order of its page, on a run and pictures of our own.

Blocks marked `console` are for other machines (a cluster, a phone's shell) and are not run. What the README says
word for word is run by its own test.
"""

import getpass
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from latency_tables import get_device
from tests.nas.test_remote import Server, home, server, trust  # noqa: F401 (fixtures)
from tests.test_readme import commands

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = DOCS / "pages"
NAMED = re.compile(r"`((?:nas|supernets|predictors|latency_tables|search_spaces|scripts|tests|benchmarks)/[\w./]+)`")
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.S | re.M)
REMOTE = "ssh://pi@kiosk.local"


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Language, file name and text of a page's blocks, snippets of files filled in."""
    text = re.sub(r'^--8<-- "(.+)"$', lambda m: (PAGES / m[1]).read_text().rstrip(), page.read_text(), flags=re.M)
    return BLOCK.findall(text)


RUNNING = [str(p.relative_to(PAGES)) for p in sorted(PAGES.rglob("*.md")) if any(b[0] == "bash" for b in blocks(p))]


def test_docs_build(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", DOCS / "mkdocs.yml", "-d", tmp_path]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=DOCS.parent, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    index = (tmp_path / "index.html").read_text()
    assert '<svg class="flow"' in index
    for page in PAGES.rglob("*.md"):
        assert page.relative_to(PAGES).as_posix() in (DOCS / "mkdocs.yml").read_text(), page


def test_paths_that_pages_name_exist():
    for page in PAGES.rglob("*.md"):
        for path in NAMED.findall(page.read_text()):
            assert (DOCS.parent / path).exists(), (page.name, path)


@pytest.fixture
def place(tmp_path, run_folder, monkeypatch):
    """A folder with pictures and a run, in which `nas` is a command."""
    from PIL import Image

    rng, folder = np.random.default_rng(0), tmp_path / "place"
    for i in range(120):
        shade, kind = 60 + 120 * (i % 2), folder / "my-images" / ("dark", "light")[i % 2]
        kind.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(shade - 50, shade + 50, (12, 12, 3)).astype(np.uint8)).save(kind / f"{i}.png")
    shutil.copytree(run_folder, folder / "runs" / "mine")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return folder


@pytest.mark.parametrize("name", RUNNING)
def test_every_snippet_runs(name, place, request):
    address, readme = REMOTE, commands()
    if REMOTE in (PAGES / name).read_text():
        port = request.getfixturevalue("server").port
        address = f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
    for language, title, text in blocks(PAGES / name):
        if title:
            (place / title).write_text(text)
        if language == "toml":
            (place / "device.toml").write_text(text)
            assert get_device(place / "device.toml").name == tomllib.loads(text)["name"]
        for line in text.splitlines() if language == "bash" else ():
            if line in readme:
                continue
            done = subprocess.run(
                ["bash", "-c", line.replace(REMOTE, address)], cwd=place, capture_output=True, text=True, timeout=1800
            )
            assert done.returncode == 0, f"{line}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"


def test_cluster_file():
    cluster = yaml.safe_load((PAGES / "examples" / "cluster.yaml").read_text())
    assert {"cluster_name", "provider", "auth", "head_start_ray_commands", "worker_start_ray_commands"} <= set(cluster)
    assert any("ray start --head" in line for line in cluster["head_start_ray_commands"])
