"""The latency bars: predictions of unseen networks, a second measurement, networks outside the space, repeatability.

    python scripts/bench_latency.py --threads 1                     # all parts, fp32; about 12 minutes
    python scripts/bench_latency.py --threads 2 --precision int8
    python scripts/bench_latency.py --threads 8 --minutes 7         # stops in time; run again to continue
    python scripts/bench_latency.py --threads 1 --quick             # a tenth of the networks
    python scripts/bench_latency.py --report                        # tables of everything measured so far

Every piece that is measured is a file in the folder of `--state`; a piece that is there is not
measured again. The last result of every setting is kept in benchmarks/latency.json with its
conditions. Needs numpy, scipy, pandas, pyarrow,
scikit-learn, onnx, onnxruntime, typer and rich only.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from latency_limits import LimitedSearch, kept_limits

from latency_tables import Anchors, Device, Effort, Latency, LatencyTable, device_fingerprint, measure, profile
from latency_tables.device_side import make_runner
from latency_tables.kernel_study import kernel_study
from latency_tables.profiling import run_study
from latency_tables.timed import timed_model
from nas.console import emit_json, print_table, say
from predictors import KernelPredictor
from search_spaces import Network, get_space, reference_network

RESULT = Path(__file__).resolve().parents[1] / "benchmarks" / "latency.json"
SPACE = get_space("ofa_mbv3")
SIZE = 224
OUTSIDE = ("mobilenet_v2", "mnasnet_a1", "fbnet_c", "resnet50")
SPACE_AT_SIZE = get_space("ofa_mbv3", resolutions=SIZE)
CHUNK = 25  # networks a piece
LIMITS, PER_LIMIT = 10, 10
PARTS = ("unseen", "second", "outside", "budget", "repeat")
PASSES, WATCHED = 20, 6
EFFORT = Effort(tolerance=0.005, rounds=(10, 30), seconds=45.0)
UNSEEN_SEED, WATCHED_SEED = 987654321, 11


class OutOfTimeError(Exception):
    """The time of this call is over; what was measured is on disk."""


class State:
    """Pieces of results as files; pieces that exist are read, others are measured while time is left."""

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder, self._end = folder, time.monotonic() + 60 * minutes
        self._longest = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def piece(self, name: str, make: Any) -> Any:
        """The piece of that name."""
        path = self.folder / f"{name}.json"
        if path.is_file():
            return json.loads(path.read_text())
        start = time.monotonic()
        if start + self._longest > self._end:
            raise OutOfTimeError
        value = make()
        beside = path.with_suffix(".tmp")
        beside.write_text(json.dumps(value))
        beside.replace(path)
        self._longest = max(self._longest, time.monotonic() - start)
        say(f"{self.folder.name}: {name} took {time.monotonic() - start:.0f} s")
        return value

    def report(self, _: object) -> None:
        """Progress callback that stops a profile (which continues when called again) in time."""
        if time.monotonic() > self._end:
            raise OutOfTimeError


def networks(seed: int, n: int) -> list[Network]:
    """Random subnets at 224 px."""
    X = SPACE.sample(np.random.default_rng(seed), n)
    X[:, SPACE.index["resolution"]] = SPACE.cardinality[SPACE.index["resolution"]] - 1
    return [SPACE.network(x) for x in SPACE.canonical(X)]


def timings(found: list[Latency]) -> list[dict[str, Any]]:
    """Latencies as JSON."""
    return [asdict(latency) for latency in found]


def plain_median(network: Network, device: Device) -> float:
    """What most scripts do: one session, 10 calls of warm-up, the median of 50."""
    runner = make_runner(timed_model(network, device), device.settings)
    times = []
    for _ in range(60):
        start = time.perf_counter()
        runner()
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times[10:]))


def run(device: Device, state: State, quick: bool, parts: Sequence[str] = PARTS) -> None:
    """Measures every piece of a device's table and of some parts that is not there yet."""
    path = state.folder / "table.parquet"
    sizes: dict[str, Any] = {"fit": 24, "held_out": 8} if quick else {"fit": 96, "held_out": 32}
    count = 10 if quick else 100

    def make_table() -> dict[str, Any]:
        profile(SPACE, device, path, resolutions=[SIZE], progress=state.report, **sizes)
        return {"done": True}

    # a profile journals its own progress; its seconds are summed over the calls that it took
    clock = state.folder / "profile-seconds.json"
    spent = json.loads(clock.read_text()) if clock.is_file() else 0.0
    start = time.monotonic()
    try:
        state.piece("profile", make_table)
    finally:
        if time.monotonic() - start > 0.5:
            clock.write_text(json.dumps(spent + time.monotonic() - start))
    table = LatencyTable.read(path)
    unseen = networks(UNSEEN_SEED, count)
    for part in ("unseen", "second"):
        for begin in range(0, count, CHUNK) if part in parts else ():
            chunk = unseen[begin : begin + CHUNK]
            options: dict[str, Any] = {"effort": EFFORT, "anchors": table.anchors, "seed": begin + (part == "second")}
            state.piece(f"{part}-{begin}", lambda c=chunk, o=options: timings(measure(c, device, **o)))
    if "outside" in parts:
        measure_outside(device, state, table, quick)
    if "budget" in parts:
        measure_limits(device, state, table, quick)
    watched = networks(WATCHED_SEED, WATCHED)
    for i in range(2 if quick else PASSES) if "repeat" in parts else ():
        state.piece(f"pass-{i}", lambda i=i: one_pass(watched, table.anchors, device, i))


def measure_limits(device: Device, state: State, table: LatencyTable, quick: bool) -> None:
    """Networks at limits, measured as the product measures them, and once more."""

    def measured(name: str, chosen: list[Network], seed: int) -> list[Latency]:
        found = []
        for begin in range(0, len(chosen), CHUNK):
            chunk, options = chosen[begin : begin + CHUNK], {"effort": EFFORT, "anchors": table.anchors}

            def make(c: list[Network] = chunk, o: dict[str, Any] = options, s: int = seed + begin) -> Any:
                return timings(measure(c, device, seed=s, **o))

            found += state.piece(f"{name}-{begin}", make)
        return [Latency(**row) for row in found]

    search = LimitedSearch(SPACE, SPACE_AT_SIZE, table)
    found = kept_limits(search, measured, 2 if quick else LIMITS, PER_LIMIT)
    state.piece("limits", lambda: found)


def measure_outside(device: Device, state: State, table: LatencyTable, quick: bool) -> None:
    """Random networks kernel by kernel, and published networks whole."""
    path = state.folder / "kernels.parquet"
    few: dict[str, Any] = {"networks": 8, "unseen": 8} if quick else {}

    def make_kernels() -> dict[str, Any]:
        run_study(kernel_study(device, reference=table.anchors, **few), path, progress=state.report)
        return {"done": True}

    state.piece("kernels", make_kernels)
    outside = [reference_network(name) for name in OUTSIDE]
    state.piece("outside", lambda: timings(measure(outside, device, effort=EFFORT, anchors=table.anchors)))


def one_pass(watched: list[Network], anchors: Anchors, device: Device, seed: int) -> dict[str, Any]:
    """The same networks once more, in fresh sessions: by our method and by a plain median."""
    effort = Effort(tolerance=0.005, rounds=(10, 30), seconds=8.0)
    found = measure(watched, device, effort=effort, anchors=anchors, seed=seed)
    return {"latencies": timings(found), "plain_ms": [plain_median(network, device) for network in watched]}


def pieces(folder: Path, prefix: str) -> Iterator[Any]:
    """Pieces of that prefix in order of their number."""
    files = sorted(folder.glob(f"{prefix}-*.json"), key=lambda p: int(p.stem.rpartition("-")[2]))
    for file in files:
        yield json.loads(file.read_text())


def agreement(predicted: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    """How near two sets of latencies are."""
    from scipy.stats import spearmanr

    error = np.abs(predicted / measured - 1)
    return {
        "networks": len(error),
        "within_5": float((error <= 0.05).mean()),
        "within_10": float((error <= 0.10).mean()),
        "mean_error": float(error.mean()),
        "max_error": float(error.max()),
        "spearman": float(spearmanr(predicted, measured).statistic),
    }


def summary(folder: Path, count: int) -> dict[str, Any]:
    """Everything that a device's pieces say."""
    table = LatencyTable.read(folder / "table.parquet")
    first = [row for chunk in pieces(folder, "unseen") for row in chunk]
    second = [row for chunk in pieces(folder, "second") for row in chunk]
    document: dict[str, Any] = {
        "conditions": table.metadata["conditions"],
        "kernels": len(table.kernels),
        "profile_seconds": json.loads((folder / "profile-seconds.json").read_text()),
        "held_out": table.metadata["held_out"],
    }
    if len(first) == count:
        measured = np.array([row["median_ms"] for row in first])
        raw = np.array([row["median_ms"] / row["speed"] for row in first])
        found = [table.predict(network) for network in networks(UNSEEN_SEED, count)]
        predicted = np.array([p.median for p in found])
        document["predicted"] = agreement(predicted, measured)
        document["predicted_without_reference"] = agreement(predicted, raw)
        inside = [p.low <= ms <= p.high for p, ms in zip(found, measured, strict=True)]
        document["interval_covers"] = float(np.mean(inside))
        if len(second) == count:
            again = np.array([row["median_ms"] for row in second])
            document["second_measurement"] = agreement(again, measured)
            document["predicted_second"] = agreement(predicted, again)
    if (folder / "outside.json").is_file():
        predictor, document["kernel_models"] = kernel_models(folder, table)
        document["outside"] = outside_rows(folder, predictor)
    if (folder / "limits.json").is_file():
        document["budget"] = json.loads((folder / "limits.json").read_text())
    passes = list(pieces(folder, "pass"))
    if len(passes) > 1:
        ours = np.array([[row["median_ms"] for row in p["latencies"]] for p in passes])
        raw = np.array([[row["median_ms"] / row["speed"] for row in p["latencies"]] for p in passes])
        plain = np.array([p["plain_ms"] for p in passes])
        document["repeatability"] = {"passes": len(passes)} | {
            name: float((values.std(axis=0, ddof=1) / values.mean(axis=0)).mean())
            for name, values in (("with_reference", ours), ("rounds_only", raw), ("plain_median", plain))
        }
    return document


def outside_rows(folder: Path, predictor: KernelPredictor) -> list[dict[str, Any]]:
    """Reference networks: measured, and predicted with models of the kernels that no table holds."""
    rows = []
    for name, row in zip(OUTSIDE, json.loads((folder / "outside.json").read_text()), strict=True):
        network = reference_network(name)
        found, ms = predictor.predict_network(network), row["median_ms"]
        rows.append(
            {
                "network": name,
                "measured_ms": ms,
                "predicted_ms": found.median,
                "error": found.median / ms - 1,
                "inside_90": found.low <= ms <= found.high,
                "kernels_predicted": sum(key not in predictor.kernels_ for key in network.kernels),
            }
        )
    return rows


def kernel_models(folder: Path, table: LatencyTable) -> tuple[KernelPredictor, dict[str, Any]]:
    """Models of kernels, and how good they are on networks none of whose kernels was measured."""
    kernels = LatencyTable.read(folder / "kernels.parquet")
    unseen, half = kernels.metadata["unseen"], len(kernels.metadata["unseen"]) // 2
    part = LatencyTable(kernels.kernels, {**kernels.metadata, "unseen": unseen[:half]})
    judged = [(Network.parse(row["network"]), row["median_ms"]) for row in unseen[half:]]
    calibrated = KernelPredictor().fit([part])
    found = [calibrated.predict_network(network) for network, _ in judged]
    inside = [p.low <= ms <= p.high for p, (_, ms) in zip(found, judged, strict=True)]
    quality = agreement(np.array([p.median for p in found]), np.array([ms for _, ms in judged]))
    held = sorted(set(table.kernels) - set(kernels.kernels))
    rows, truth = calibrated.predict_interval(held), np.array([table.kernels[key].cost_ms for key in held])
    covered = (truth >= rows[:, 1]) & (truth <= rows[:, 2])
    errors = {
        "kernels": len(kernels.kernels),
        "left_out_error_by_kind": calibrated.errors_,
        "unseen_networks": quality | {"interval_covers": float(np.mean(inside))},
        "kernels_of_the_space": {
            "n": len(held),
            "median_error": float(np.median(np.abs(rows[:, 0] / truth - 1))),
            "interval_covers": float(covered.mean()),
        },
    }
    return KernelPredictor().fit([kernels]), errors


def show(documents: dict[str, dict[str, Any]]) -> None:
    """Tables for a person."""
    lines = []
    for name, document in documents.items():
        for what in ("predicted", "predicted_without_reference", "predicted_second", "second_measurement"):
            if what in document:
                a = document[what]
                shares = [f"{a[key]:.0%}" for key in ("within_5", "within_10")]
                errors = [f"{100 * a[key]:.2f}" for key in ("mean_error", "max_error")]
                lines.append((name, what, a["networks"], *shares, *errors, f"{a['spearman']:.4f}"))
    columns = ("setting", "against measurement", "n", "within 5 %", "within 10 %", "mean %", "max %", "Spearman")
    print_table("Unseen subnets", columns, lines)
    profiles = []
    for name, document in documents.items():
        r = document.get("repeatability", {})
        sd = [f"{100 * r[key]:.2f}" if r else "" for key in ("with_reference", "rounds_only", "plain_median")]
        covers = f"{document['interval_covers']:.0%}" if "interval_covers" in document else ""
        profiles.append((name, f"{document['profile_seconds']:.0f}", document["kernels"], covers, r.get("passes"), *sd))
    columns = ("setting", "profile s", "kernels", "90 % covers", "passes", "s.d. % reference", "rounds", "plain median")
    print_table("Profile and repeatability", columns, profiles)
    budgets = [(name, *document["budget"].values()) for name, document in documents.items() if "budget" in document]
    if budgets:
        named = ("setting", "limits", "searched", "room", "reported", "exceed", "reported by one measurement", "exceed")
        print_table("Limits, measured again", named, budgets)
    for name, document in documents.items():
        if "kernel_models" in document:
            m = document["kernel_models"]
            u, k = m["unseen_networks"], m["kernels_of_the_space"]
            print(
                f"{name}: {m['kernels']} kernels of random networks; unseen networks within 10 % {u['within_10']:.0%}, "
                f"mean error {u['mean_error']:.1%}, 90 % covers {u['interval_covers']:.0%}; {k['n']} kernels of the "
                f"space: median error {k['median_error']:.1%}, 90 % covers {k['interval_covers']:.0%}"
            )
    lines = [
        (name, row["network"], *(f"{v:.3f}" if isinstance(v, float) else v for v in list(row.values())[1:]))
        for name, document in documents.items()
        for row in document.get("outside", [])
    ]
    if lines:
        first = next(d["outside"][0] for d in documents.values() if "outside" in d)
        print_table("Networks outside the space", ("setting", *first), lines)


def main(
    threads: str = "1",
    precision: str = "fp32",
    parts: Annotated[str, typer.Option("--parts", help="Of these, besides the table.")] = ",".join(PARTS),
    state: Path = Path("build/bench_latency"),
    minutes: Annotated[float, typer.Option("--minutes", help="Stop after about this time.")] = 1e9,
    report: Annotated[bool, typer.Option("--report", help="Measure nothing.")] = False,
    quick: bool = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Measures what is missing, then prints all settings measured so far."""
    try:
        for count in [] if report else threads.split(","):
            device = Device(f"cpu-{count}t-{precision}", threads=int(count), precision=precision)
            folder = state / (device.name + ("-quick" if quick else ""))
            run(device, State(folder, minutes), quick, parts.split(","))
            say(f"{device.name}: complete, {device_fingerprint(device)['cpu']}")
    except OutOfTimeError:
        say("Time is over; run the same command again to continue.")
    ready = [folder for folder in sorted(state.glob("*")) if (folder / "table.parquet").is_file()]
    documents = {f.name: summary(f, 10 if f.name.endswith("-quick") else 100) for f in ready}
    keep = {name: document for name, document in documents.items() if not name.endswith("-quick")}
    if keep:
        RESULT.parent.mkdir(exist_ok=True)
        old = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
        cpu = next(iter(keep.values()))["conditions"]["cpu"]
        old[cpu] = old.get(cpu, {}) | keep
        RESULT.write_text(json.dumps(old, indent=1) + "\n")
    if as_json:
        emit_json(documents)
        return
    show(documents)


if __name__ == "__main__":
    typer.run(main)
