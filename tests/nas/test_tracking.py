"""Runs in MLflow, read back through MLflow's own client."""

import json

import pytest

mlflow = pytest.importorskip("mlflow", reason="needs mlflow, of the extra [mlflow]")


def test_run_in_mlflow(run_folder, nas, tmp_path, front):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    done = nas("runs", "mlflow", run_folder, "--uri", uri, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    client = mlflow.MlflowClient(tracking_uri=uri)
    written = client.get_run(document["run_id"])
    assert written.data.params["train.epochs"] == "6" and written.data.params["space.name"] == "ofa_mbv3"
    assert written.data.metrics["local-cpu-1t/best_accuracy"] == max(e["accuracy"] for e in front["front"])
    assert [m.step for m in client.get_metric_history(document["run_id"], "local-cpu-1t/hypervolume")] == [
        n for n, _ in front["curve"]
    ]
    again = json.loads(nas("runs", "mlflow", run_folder, "--uri", uri, "--json", cwd=tmp_path).stdout)
    assert again["run_id"] == document["run_id"] and again["metrics"] == 0


def test_a_server_that_is_not_there(run_folder, nas, tmp_path):
    done = nas("runs", "mlflow", run_folder, "--uri", "sqlite:////proc/none/x.db", cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
