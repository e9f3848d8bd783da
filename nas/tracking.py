"""A run told to MLflow: configuration, losses, fronts and exports, as one MLflow run that is updated in place."""

import csv
import os
from typing import Any

from nas.errors import UserError
from nas.run_summary import flat
from nas.runs import Run

_TAG = "nas.folder"  # finds the MLflow run of a run folder again
_LONGEST = 500  # characters of a parameter
_QUIET = {"GIT_PYTHON_REFRESH": "quiet", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def log_to_mlflow(run: Run, uri: str, experiment: str) -> dict[str, Any]:
    """Writes a run to a tracking server, or over what was written of it before.

    Args:
        run: The run.
        uri: Tracking URI: a server, `sqlite:///mlflow.db`, a folder.
        experiment: Name of the experiment; made if need be.

    Returns:
        "experiment", "run_id", "metrics" (values written) and "artifacts" (files).

    Raises:
        UserError: if MLflow is not installed or cannot be reached.
    """
    os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise UserError("MLflow is not installed; install it with `pip install nas-platform[mlflow]`.") from error
    try:
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else client.create_experiment(experiment)
        return _write(client, number, run) | {"experiment": experiment}
    except (MlflowException, OSError) as error:
        raise UserError(f"MLflow at --uri {uri} cannot be written ({str(error).splitlines()[0][:200]}).") from error


def _write(client: Any, experiment: str, run: Run) -> dict[str, Any]:
    from mlflow.entities import Metric, Param

    where = str(run.folder.resolve())
    known = client.search_runs([experiment], filter_string=f"tags.`{_TAG}` = '{where}'", max_results=1)
    made = known[0] if known else client.create_run(experiment, run_name=run.name, tags={_TAG: where})
    run_id = made.info.run_id
    metrics = [Metric(name, value, 0, step) for name, value, step in [*_training(run), *_fronts(run)]]
    written = {name for name, value in made.data.params.items()}
    config = {key: str(value)[:_LONGEST] for key, value in flat(run.config).items()}
    params = [Param(key, value) for key, value in config.items() if key not in written]
    seen = made.data.metrics
    metrics = [metric for metric in metrics if metric.key not in seen or metric.step > _last(client, run_id, metric)]
    client.log_batch(run_id, metrics=metrics, params=params)
    files = [run.folder / "config.json", *sorted((run.folder / "search").glob("front-*.json"))]
    files += [p for p in sorted((run.folder / "export").glob("*")) if p.is_file()]
    for path in files:
        client.log_artifact(run_id, str(path), artifact_path=str(path.parent.relative_to(run.folder)).strip("."))
    client.set_terminated(run_id)
    return {"run_id": run_id, "metrics": len(metrics), "artifacts": len(files)}


def _last(client: Any, run_id: str, metric: Any) -> int:
    return max(value.step for value in client.get_metric_history(run_id, metric.key))


def _training(run: Run) -> list[tuple[str, float, int]]:
    """Values of `metrics.csv`."""
    path = run.supernet / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        (f"train_{name}", float(row[name]), int(row["step"]))
        for row in rows
        for name in row
        if name not in ("epoch", "step")
    ]


def _fronts(run: Run) -> list[tuple[str, float, int]]:
    """Hypervolume over evaluations, and the ends of every measured front."""
    values: list[tuple[str, float, int]] = []
    for device in run.searched_devices:
        document = run.read_front(device)
        values += [(f"{device}/hypervolume", float(volume), int(n)) for n, volume in document["curve"]]
        front, n = document["front"], document["evaluations"]
        if front:
            values.append((f"{device}/best_accuracy", max(e["accuracy"] for e in front), n))
            values.append((f"{device}/fastest_ms", min(e["latency_ms"]["median"] for e in front), n))
    return values
