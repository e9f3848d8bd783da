"""Files carry a format version; one of another version is refused, and the message says which it has."""

import numpy as np
import pytest

import latency_tables.table
import nas.runs
import nas.search.log
import predictors.kernels
import predictors.regression
import supernets.checkpoint
from search_spaces import get_space
from tests.nas import write_faults

SPACE = get_space("nasbench201")


def checkpoint(folder):
    supernets.checkpoint.Checkpoints(folder, SPACE).save(1, {"params": {"w": np.ones(3, np.float32)}}, {})


def log(path):
    return nas.search.log.EvaluationLog(SPACE, ["error"], path, {})


CASES = {
    "run": (nas.runs, "FORMAT", lambda p: nas.runs.Run.create(p, SPACE), nas.runs.Run.open),
    "log": (nas.search.log, "FORMAT", log, log),
    "table": (
        *(latency_tables.table, "FORMAT_VERSION"),
        lambda p: write_faults.TABLES[1].write(p),
        latency_tables.table.LatencyTable.read,
    ),
    "kernel models": (
        *(predictors.kernels, "FORMAT"),
        lambda p: write_faults.KERNELS[1].write(p),
        predictors.kernels.KernelPredictor.read,
    ),
    "regression": (
        *(predictors.regression, "_FORMAT"),
        lambda p: write_faults.REGRESSIONS[1].save(p),
        predictors.regression.FeatureRegression.load,
    ),
    "checkpoint": (
        *(supernets.checkpoint, "FORMAT", checkpoint),
        lambda p: supernets.checkpoint.load_params(p, SPACE),
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_another_version_is_refused_by_its_number(tmp_path, monkeypatch, kind):
    module, constant, write, read = CASES[kind]
    path = tmp_path / "file.npz"
    with monkeypatch.context() as patch:
        patch.setattr(module, constant, 99)
        write(path)
    with pytest.raises(ValueError, match="format.*99") as refused:
        read(path)
    assert len(str(refused.value).splitlines()) == 1
