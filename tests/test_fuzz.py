"""Damaged files of every kind are read or refused in one line; scripts/fuzz.py does the same for as long as asked."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "fuzz.py"
KINDS = ("architecture", "network", "device", "table", "run", "scores", "npz", "csv", "picture", "log")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_in_one_line(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    row = module.fuzz(tmp_path / "files", seconds=1.0, seed=7, only=kind)[kind]
    assert row["inputs"] and row["failures"] == []
