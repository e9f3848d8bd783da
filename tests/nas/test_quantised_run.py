"""`nas train --method qfa --from RUN`: a run of INT8 subnets, from fine-tuning to the exported file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench_qfa.py"


def test_mistakes_are_one_line(nas, run_folder, tmp_path):
    for arguments, word in (
        (["ofa_mbv3", "--method", "qfa"], "--from RUN"),
        (["ofa_mbv3", "--from", run_folder], "--method qfa"),
        (["proxyless", "--method", "qfa", "--from", run_folder], "'ofa_mbv3'"),
        (["ofa_mbv3", "--method", "qfa", "--from", tmp_path / "nothing"], "no run folder"),
        (["ofa_mbv3", "--method", "qfa", "--from", run_folder, "--mixup", 0.2], "leave out --mixup"),
        (["ofa_mbv3", "--method", "qfa", "--from", run_folder, "--seed", 0], "leave out --seed"),
    ):
        done = nas("train", *arguments, "--out", tmp_path / "out")
        assert done.returncode == 2 and word in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_from_fine_tuning_to_export(nas, run_folder, tmp_path):
    out = tmp_path / "int8"
    command = ["train", "ofa_mbv3", "--method", "qfa", "--from", run_folder, "--out", out, "--epochs", 2, "--json"]
    done = nas(*command)
    assert done.returncode == 0, done.stderr
    config = json.loads((out / "config.json").read_text())
    assert config["train"]["method"] == "qfa" and config["train"]["peak_lr"] == pytest.approx(0.01)
    assert config["data"] == json.loads((run_folder / "config.json").read_text())["data"]
    table = run_folder / "tables" / "local-cpu-1t.parquet"
    search = ["search", out, "--table", table, "--evaluations", 8, "--batch", 4, "--measured", 3, "--workers", 1]
    done = nas(*search)
    assert done.returncode == 0, done.stderr
    done = nas("export", out, "--pick", "most_accurate", "--pixels", "--json")
    assert done.returncode == 0, done.stderr
    (card,) = json.loads(done.stdout)["exports"]
    assert card["precision"] == "int8" and abs(card["accuracy"] - card["accuracy_flax"]) <= 1
    done = nas("export", out, "--pick", "most_accurate", "--int8")
    assert done.returncode == 2 and "INT8 as they are" in done.stderr
    command = [sys.executable, BENCH, run_folder, out, tmp_path / "bench", "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert len(document["subnets"]) == 3 and document["largest_difference"] <= 1
    for row in document["subnets"]:
        assert row["same_class"] >= 98 and abs(row["jax"] - row["file"]) <= 1
