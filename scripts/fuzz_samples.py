"""A valid file of every kind that the product reads, and what reads it; for `fuzz.py`."""

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search_spaces import Network, Space

if TYPE_CHECKING:
    from latency_tables import LatencyTable

Reader = Callable[[Path], object]
_DEVICE = 'name = "d"\nprovider = "CPUExecutionProvider"\nthreads = 2\n'
_CONDITIONS = {
    "device": "d", "cpu": "c", "provider": "CPUExecutionProvider", "threads": 1, "batch": 1, "precision": "fp32",
    "onnxruntime": "1",
}  # fmt: skip


def samples(folder: Path) -> dict[str, tuple[Path, Reader]]:
    """A valid file of every kind and what reads it."""
    from search_spaces import get_space

    small = get_space("ofa_mbv3", width=0.1, num_classes=2, resolutions=[12], stem_stride=2, in_channels=1)
    return {
        **_texts(folder, get_space("ofa_mbv3")),
        **_tables(folder, small),
        **_runs(folder, small),
        **_pictures(folder),
    }


def _file(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _texts(folder: Path, space: Space) -> dict[str, tuple[Path, Reader]]:
    from latency_tables import get_device
    from nas.report.proxies import read_scores
    from nas.search.log import EvaluationLog

    def text(path: Path) -> str:
        return path.read_bytes().decode("utf-8", "replace")

    X = space.sample(np.random.default_rng(0), 5)
    log = folder / "log.jsonl"
    grown = EvaluationLog(space, ["error"], log, {})
    for x in X:
        grown.append(x, [1.0])
    arch = space.to_text(X[0])
    scores = json.dumps({"proxies": {"a": {}}, "scores": [{"arch": arch, "a": 1.0}]})
    return {
        "architecture": (_file(folder / "arch.txt", arch), lambda p: space.parse(text(p))),
        "network": (_file(folder / "network.txt", space.network(X[0]).text), lambda p: Network.parse(text(p))),
        "device": (_file(folder / "d.toml", _DEVICE), lambda p: get_device(str(p))),
        "log": (log, lambda p: EvaluationLog(space, ["error"], p, {})),
        "scores": (_file(folder / "scores.json", scores), read_scores),
    }


def made_table(space: Space, networks: list[Network], first_ms: float = 0.5) -> "LatencyTable":
    """A table of the networks' kernels as if measured, with them as its anchors; `first_ms` tells tables apart.

    Args:
        space: Of the networks.
        networks: Whose kernels it holds.
        first_ms: What the first kernel takes.
    """
    from latency_tables import LatencyTable
    from latency_tables.table import KernelLatency

    keys = sorted({key for network in networks for key in network.kernels})
    ms = [first_ms, *np.random.default_rng(0).uniform(0.1, 1.0, len(keys) - 1)]
    kernels = {key: KernelLatency("fp32", t, 0.9 * t, 1.1 * t, 20, t) for key, t in zip(keys, ms, strict=True)}
    anchors = [
        {"network": n.text, "median_ms": sum(kernels[k].cost_ms for k in n.kernels), "p10_ms": 0.1, "p90_ms": 9.0,
         "runs": 20} for n in networks
    ]  # fmt: skip
    return LatencyTable(kernels, {
        "conditions": _CONDITIONS, "space": {"name": space.name, "options": space.options}, "anchors": anchors,
        "correction": {"constant_ms": 0.0}, "held_out": {"low": 0.9, "high": 1.1},
    })  # fmt: skip


def _tables(folder: Path, space: Space) -> dict[str, tuple[Path, Reader]]:
    """Tables, models of kernels, what a killed profile leaves, and what a device without network sends back."""
    import zipfile

    from latency_tables import LatencyTable
    from latency_tables.bundle import ImportedResults, write_bundle
    from latency_tables.devices import Device
    from latency_tables.journal import Journal
    from latency_tables.plan import Plan
    from predictors import KernelPredictor

    networks = [space.network(x) for x in space.sample(np.random.default_rng(0), 12)]
    table = made_table(space, networks)
    keys = list(table.kernels)
    table.write(folder / "table.parquet")
    KernelPredictor().fit([table]).write(folder / "kernels.npz")
    journal = Journal(folder / "journal.jsonl", {"device": "d"}, resume=False)
    for name in "abc":
        journal.add(name, {"ms": [0.1, 0.2]})
    machine = {"cpu": "c", "cpu_flags": ["avx"], "accelerator": "", "onnxruntime": "1"}
    rows = [{"digest": "0", "machine": machine}, {"name": "a", "record": {"ms": [0.1]}}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    task = {"name": "a", "kind": "time", "models": [0], "anchors": [], "copies": 1, "tolerance": 1.0,
            "rounds": [2, 2], "seconds": 0.01, "seed": 0}  # fmt: skip
    plan = Plan(Device("d"), networks[:1], [task])
    with zipfile.ZipFile(folder / "results.zip", "w", zipfile.ZIP_DEFLATED) as results:
        results.writestr("results.jsonl", lines)
    return {
        "table": (folder / "table.parquet", lambda p: LatencyTable.read(p).predict(networks[0])),
        "kernel models": (folder / "kernels.npz", lambda p: KernelPredictor.read(p).predict(keys[:3])),
        "journal": (journal.path, lambda p: Journal(p, {"device": "d"}, resume=True)),
        "bundle": (write_bundle(plan, folder / "bundle.zip"), _run_bundle),
        "results, zipped": (folder / "results.zip", ImportedResults),
        "results": (_file(folder / "results.jsonl", lines), ImportedResults),
    }


def _run_bundle(path: Path) -> None:
    """What `python3 BUNDLE.zip` does on a device, which ends in one line too."""
    from latency_tables import TableError, device_side

    for left in path.parent.glob("bundle.results.*"):
        left.unlink()
    sys.argv = [str(path)]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            device_side.main(sys.argv)
    except SystemExit as refused:
        raise TableError(str(refused)) from None


def _runs(folder: Path, space: Space) -> dict[str, tuple[Path, Reader]]:
    """A run: its configuration, checkpoint, front and the card of an exported network."""
    from nas.pick import pick
    from nas.report.data import report_data
    from nas.report.page import page
    from nas.run_summary import summary
    from nas.runs import Run
    from supernets.checkpoint import Checkpoints, load_params

    run = Run.create(folder / "run", space, seed=0, data={"source": "x", "validation": 10}, train={"epochs": 1})
    entries = [_entry(space, x, i) for i, x in enumerate(space.sample(np.random.default_rng(1), 3))]
    front = _file(run.front("d"), json.dumps(_front(space, entries)))
    card = {"name": "a", "path": "a.onnx", "accuracy": 80.0, "test_images": 100, "max_abs_diff": 1e-6,
            "latency_ms": {"median": 1.0, "p10": 0.9, "p90": 1.1}}  # fmt: skip
    weights = {"params": {"w": np.arange(4096, dtype=np.float32), "v": np.ones((3, 5), np.float32)}}
    Checkpoints(run.supernet, space).save(1, weights, {"epoch": 1})
    step = run.supernet / "1"
    largest = max((p for p in (step / "state").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)

    def weights_of(_: Path) -> object:
        return load_params(run.supernet, space)

    def front_of(_: Path) -> object:
        document = run.read_front("d")
        return page(report_data(run.folder)), pick(document["front"], "knee") if document["front"] else None

    return {
        "run": (run.folder / "config.json", lambda p: summary(Run.open(p.parent))),
        "front": (front, front_of),
        "card": (_file(run.folder / "export" / "a.json", json.dumps(card)), lambda p: page(report_data(run.folder))),
        "checkpoint, about": (step / "about" / "metadata", weights_of),
        "checkpoint, tree": (step / "state" / "_METADATA", weights_of),
        "checkpoint, index": (step / "state" / "manifest.ocdbt", weights_of),
        "checkpoint, data": (largest, weights_of),
    }


def _entry(space: Space, x: np.ndarray, i: int) -> dict[str, Any]:
    network = space.network(x)
    return {
        "arch": space.to_text(x), "macs": network.macs, "params": network.params,
        "peak_memory_bytes": network.peak_memory, "accuracy": 80.0 + i,
        "latency_ms": {"median": 1.0 + i, "p10": 0.9, "p90": 4.1, "upper": 1.1 + i}, "latency_runs": 40,
        "predicted_latency_ms": {"median": 1.0 + i, "low": 0.9, "high": 4.1}, "costs": {},
    }  # fmt: skip


def _front(space: Space, entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "format": 1, "run": "run", "space": {"name": space.name, "options": space.options}, "device": "d",
        "conditions": _CONDITIONS, "limit_ms": None, "searcher": "random", "seed": 0, "evaluations": 3,
        "validation_images": 100, "front": entries, "over_limit": [], "baselines": entries[:1],
        "objectives": ["error", "latency_ms"], "limits": {}, "reference": [20.0, 3.0], "hypervolume": 1.0,
        "curve": [[1, 0.5], [3, 1.0]], "evaluated": [[20.0, 1.0], [19.0, 2.0], [18.0, 3.0]],
        "evaluated_costs": [[], [], []],
        "predictor": {"rmse": 1.0, "kendall_tau": 0.5, "subnets": 3, "predicted": [20.0, 19.0, 18.0]},
        "table": {"held_out": {"networks": 32, "within_5": 1.0, "low": 0.9, "high": 1.1}, "kernels": 10},
    }  # fmt: skip


def _pictures(folder: Path) -> dict[str, tuple[Path, Reader]]:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    from supernets.data import load_dataset

    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (8, 12, 12, 1), dtype=np.uint8), np.arange(8) % 2
    np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    rows, encoded = [], []
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / f"{i}.png")
        rows.append(f"{i}.png,{'ab'[i % 2]}")
        stream = io.BytesIO()
        Image.fromarray(image[..., 0]).save(stream, "PNG")
        encoded.append({"bytes": stream.getvalue(), "path": f"{i}.png"})
    parquet = folder / "hf" / "train-0.parquet"
    parquet.parent.mkdir()
    pq.write_table(pa.table({"image": encoded, "label": labels}), parquet)
    return {
        "npz": (folder / "data.npz", load_dataset),
        "csv": (_file(folder / "data.csv", "path,label\n" + "\n".join(rows) + "\n"), load_dataset),
        "picture": (folder / "0.png", lambda p: load_dataset(p.with_name("data.csv"))),
        "Parquet": (parquet, lambda p: load_dataset(p.parent)),
    }
