"""Damaged files of every kind are read or refused in one line; scripts/fuzz.py does the same for as long as asked."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "fuzz.py"
KINDS = (
    *("architecture", "network", "device", "log", "scores"),
    *("table", "kernel models", "journal", "bundle", "results, zipped", "results"),
    *("run", "front", "card", "checkpoint, about", "checkpoint, tree", "checkpoint, index", "checkpoint, data"),
    *("npz", "csv", "picture", "Parquet"),
)


def test_damaged_files_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(SCRIPT.parent)  # where a script finds its neighbours
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.fuzz(tmp_path / "files", seconds=60.0 * len(KINDS), seed=7, most=100)
    assert set(found) == set(KINDS)
    for kind, row in found.items():
        assert row["inputs"] and row["failures"] == [], (kind, row)
