"""Few-shot transfer to a new device on published latencies: every device left out in turn, 10 samples, 20 seeds.

    python scripts/bench_transfer.py              # about ten minutes
    python scripts/bench_transfer.py --quick      # 2 seeds

Bars: mean Spearman above 0.93 (NAS-Bench-201) and 0.91 (FBNet), and above the floor on the same
split: non-negative least squares over the other devices' standardised log-latencies, on random
samples. "strict" also leaves out the rest of the device's family (other batch sizes, other models
of the line). A column that repeats another one's measurements (pixel3_hwnb of pixel3) is dropped.
The result, with its conditions, is kept in benchmarks/transfer.json.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from scipy.optimize import nnls
from scipy.stats import spearmanr

from nas.console import emit_json, print_table, progress
from predictors.transfer import TransferLatency

RESULT = Path(__file__).resolve().parents[1] / "benchmarks" / "transfer.json"
BARS = {"nasbench201": 0.93, "fbnet_cifar100": 0.91}
SAMPLES = 10
DUPLICATE = 0.99999  # two columns that correlate more are one measurement


def load(folder: Path, name: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of the devices, latencies `[n, devices]` and one-hot operators with their counts `[n, f]`."""
    data = pd.read_parquet(folder / f"{name}.parquet")
    columns = [c for c in data.columns if c.endswith("_ms")]
    correlation = np.corrcoef(np.log(data[columns].to_numpy(np.float64)).T)
    columns = [c for i, c in enumerate(columns) if not (correlation[i, :i] > DUPLICATE).any()]
    if name == "nasbench201":
        texts = data.arch_str.str.findall(r"([a-z_0-9]+)~\d")
        kinds = sorted({kind for row in texts for kind in row})
        codes = np.array([[kinds.index(kind) for kind in row] for row in texts])
    else:
        codes = data[[c for c in data.columns if c.startswith("b") and c[1:].isdigit()]].to_numpy(np.int64)
    one_hot = np.eye(codes.max() + 1)[codes]
    features = np.hstack([one_hot.sum(axis=1), one_hot.reshape(len(codes), -1)])
    return columns, data[columns].to_numpy(np.float64), features


def floor(sources_ms: np.ndarray, target_ms: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Predictions (any scale) by non-negative least squares on other devices."""
    log = np.log(sources_ms)
    standard = (log - log.mean(axis=0)) / log.std(axis=0)
    y, X = np.log(target_ms[rows]), standard[rows]
    weights, _ = nnls(X - X.mean(axis=0), y - y.mean())
    return standard @ weights


def family(column: str) -> str:
    """What a column's setting runs on, without batch size or model number."""
    return column.removesuffix("_ms").rpartition("_")[0] or column


def study(columns: list[str], ms: np.ndarray, features: np.ndarray, seeds: int, strict: bool, update: Any) -> dict:
    """Spearman by device, mean over seeds, of transfer and of the floor."""
    found: dict[str, dict[str, float]] = {}
    for i, name in enumerate(columns):
        sources = [j for j, c in enumerate(columns) if j != i and not (strict and family(c) == family(name))]
        scores: dict[str, list[float]] = {"transfer": [], "floor": [], "floor_same_samples": []}
        for seed in range(seeds):
            transfer = TransferLatency(ms[:, sources], features, seed=seed)
            rows = transfer.choose(SAMPLES)
            rest = np.setdiff1d(np.arange(len(ms)), rows)
            predicted = transfer.fit(rows, ms[rows, i]).predict(rest)
            scores["transfer"].append(spearmanr(predicted, ms[rest, i]).statistic)
            random = np.random.default_rng(seed).choice(len(ms), SAMPLES, replace=False)
            for key, chosen in (("floor", random), ("floor_same_samples", rows)):
                left = np.setdiff1d(np.arange(len(ms)), chosen)
                values = floor(ms[:, sources], ms[:, i], chosen)[left]
                scores[key].append(spearmanr(values, ms[left, i]).statistic if values.std() > 0 else 0.0)
        found[name.removesuffix("_ms")] = {key: float(np.mean(values)) for key, values in scores.items()}
        update(i + 1, len(columns), name)
    return found


def main(
    bench: Annotated[Path, typer.Option("--bench", help="Folder with the benchmark's Parquet files.")] = Path(
        "../shared/bench"
    ),
    quick: bool = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Prints mean Spearman of transfer and of the floor beside the bars."""
    seeds = 2 if quick else 20
    rows = []
    for name, bar in BARS.items():
        columns, ms, features = load(bench, name)
        for strict in (False, True):
            label = f"{name}{' strict' if strict else ''}"
            with progress(label) as update:
                found = study(columns, ms, features, seeds, strict, update)
            mean = {key: float(np.mean([f[key] for f in found.values()])) for key in next(iter(found.values()))}
            worst = min(found, key=lambda d: found[d]["transfer"])
            wins = sum(f["transfer"] > f["floor"] for f in found.values())
            rows.append(
                {
                    "data": label,
                    "networks": len(ms),
                    "devices": len(columns),
                    "bar": bar,
                    **mean,
                    "devices_above_floor": wins,
                    "worst": worst,
                    "by_device": found,
                }
            )
    document = {"samples": SAMPLES, "seeds": seeds, "rows": rows}
    if not quick:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(document, indent=1) + "\n")
    if as_json:
        emit_json(document)
        return
    print_table(
        f"Mean Spearman over devices left out, {SAMPLES} samples, {seeds} seeds",
        ("data", "devices", "transfer", "floor", "floor, our samples", "bar", "above the floor", "worst device"),
        [
            (
                r["data"],
                r["devices"],
                *(f"{r[key]:.4f}" for key in ("transfer", "floor", "floor_same_samples")),
                r["bar"],
                f"{r['devices_above_floor']} of {r['devices']}",
                f"{r['worst']} {r['by_device'][r['worst']]['transfer']:.3f}",
            )
            for r in rows
        ],
    )


if __name__ == "__main__":
    typer.run(main)
