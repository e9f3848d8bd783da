"""Spaces of a user's own: named on the command line, kept in the run, never run unasked."""

import json
import shutil
from pathlib import Path

import pytest

from nas.own_spaces import trust, trust_file
from nas.runs import Run
from search_spaces import SpaceError, get_space

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "pages" / "examples" / "my_space.py"
NAME = f"{EXAMPLE}:small"


@pytest.fixture(autouse=True)
def config_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_space_out_of_a_file(rng):
    space = get_space(NAME, num_classes=7)
    assert (space.name, space.source, space.options["num_classes"]) == ("small", NAME, 7)
    again = get_space(space.reference, **space.options)
    X = space.sample(rng, 20)
    assert [space.to_text(x) for x in X] == [again.to_text(x) for x in X] and space.size == (1 * (4 + 16 + 64)) ** 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def small():\n    return 3\n", "returns a int"),
        ("def small():\n    raise OSError('no')\n", "fails with OSError: no"),
        ("def small(:\n", "fails with SyntaxError"),
        ("other = 1\n", "has no function 'small'"),
    ],
)
def test_faulty_files(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(SpaceError, match=message):
        get_space(f"{tmp_path}/mine.py:small")
    with pytest.raises(SpaceError, match="does not exist"):
        get_space(f"{tmp_path}/absent.py:small")
    with pytest.raises(SpaceError, match="no option 'depth'"):
        get_space(NAME, depth=3)


def test_a_run_keeps_the_file_and_runs_only_what_is_trusted(tmp_path, nas, pictures_file):
    run = tmp_path / "run"
    train = ["--epochs", 1, "--batch-size", 32, "--validation", 60, "--random-subnets", 1]
    done = nas("train", NAME, "--data", pictures_file, "--out", run, *train)
    assert done.returncode == 0, done.stderr
    config = json.loads((run / "config.json").read_text())["space"]
    assert config["file"] == "space.py" and (run / "space.py").read_bytes() == EXAMPLE.read_bytes()
    assert nas("describe", run).returncode == 0  # profiling, searching and exporting: docs/pages/guides/own-space.md

    # somebody else's run: nothing of it runs before they allow it
    trust_file().unlink()
    other = Path(shutil.copytree(run, tmp_path / "other"))
    refused = nas("describe", other)
    assert refused.returncode == 2 and f"nas spaces --trust {other / 'space.py'}" in refused.stderr
    assert nas("spaces", "--trust", other / "space.py").returncode == 0
    assert Run.open(other).space.size == get_space(NAME).size
    (other / "space.py").write_text(EXAMPLE.read_text() + "\n")
    changed = nas("describe", other)
    assert changed.returncode == 2 and "is not the file that the run was made with" in changed.stderr


def test_trust_is_added_once(tmp_path):
    digest = trust(EXAMPLE)
    assert trust(EXAMPLE) == digest and trust_file().read_text().count(digest) == 1
