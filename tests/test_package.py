"""The wheel and the sdist: everything in them, usable away from the repository; licences of what comes beside them."""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

PACKAGES = ("search_spaces", "supernets", "latency_tables", "predictors", "nas")


def build(kind: str, source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory) -> Path:
    """Built as an index would: from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    with tarfile.open(build("sdist", root, folder)) as sdist:
        sdist.extractall(folder, filter="data")
    return build("wheel", next(path for path in folder.iterdir() if path.is_dir()), folder / "wheel")


def test_wheel_holds_every_file_of_the_packages(wheel, root):
    tracked = subprocess.run(["git", "ls-files", *PACKAGES], cwd=root, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(wheel) as file:
        held = {name for name in file.namelist() if ".dist-info/" not in name}
        about = Parser().parsestr(
            file.read(next(name for name in file.namelist() if name.endswith("/METADATA"))).decode()
        )
    assert held == set(tracked.stdout.split())
    assert {"gpu", "ray-cluster", "docs", "dev"} <= set(about.get_all("Provides-Extra"))
    assert about["Requires-Python"] == ">=3.11"


def test_wheel_works_away_from_the_repository(wheel, tmp_path):
    place = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-index", "--target", place, wheel]
    subprocess.run(install, check=True)
    code = "import sys, nas; print(nas.__file__, file=sys.stderr); from nas.__main__ import main; main(sys.argv[1:])"
    for arguments in (["spaces", "--json"], ["describe", "ofa_mbv3", "--json"], ["data", "check", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(place)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 and done.stderr.startswith(str(place)), done.stderr
        assert arguments[-1] != "--json" or json.loads(done.stdout)
    assert (place / "bin" / "nas").is_file()


def test_licences_of_all_packages_are_listed_and_none_forbids_use(root):
    page = (root / "docs" / "pages" / "reference" / "licences.md").read_text()
    rows = dict(re.findall(r"^\| ([\w.-]+) \| [^|]+ \| (.+) \|$", page, re.M))
    locked = re.findall(r"^([\w.-]+)==\S+ \\$", (root / "requirements" / "run.txt").read_text(), re.M)
    assert len(locked) > 50 and set(locked) <= set(rows)  # those with a condition are of other platforms
    for name, licence in rows.items():
        choices = licence.split(" OR ")
        assert not all(re.search(r"\bA?GPL|proprietary|not stated", c, re.I) for c in choices), (name, licence)
