"""Measures ONNX models on the machine it runs on: the one file that a device needs.

Python 3.8 or newer, numpy and onnxruntime suffice. The host imports it for local devices, sends
it to remote ones, and puts it beside bundles, so that every device is measured by the same code:

    python3 BUNDLE.zip                      # a bundle carries this file; writes BUNDLE.results.zip
    python3 device_side.py BUNDLE.zip       # the same; run again after an interruption to continue
    python3 device_side.py --machine CPUExecutionProvider

A bundle is read member by member into memory and never unpacked; results are JSON lines.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import re
import sys
import tempfile
import time
import zipfile
from typing import Any, Callable, NamedTuple, Sequence  # noqa: UP035 (Python 3.8)

import numpy as np
import onnxruntime

SLOW_ROUND = 1.15  # a round this much slower than the typical one is repeated
RECORDED_MS = 4.0  # of recorded calls in a sample, about
_NEIGHBOURS = 8  # samples before and after one that say how fast the machine was
MAX_MEMBER_BYTES = 1 << 30
# Instruction sets that ONNX Runtime picks its kernels by.
_FLAGS = (
    *("avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve"),
)


class Runner(NamedTuple):
    """A session and a fixed random input for it; calling it runs the model once."""

    session: Any
    feed: dict

    def __call__(self) -> None:
        self.session.run(None, self.feed)


class Rounds(NamedTuple):
    """What came out, per session.

    Attributes:
        median_ms: Median over rounds of the samples, drift cancelled `[sessions]`.
        error_ms: Half width of its 95 % confidence interval `[sessions]`.
        times_ms: All recorded calls, as they were.
    """

    median_ms: np.ndarray
    error_ms: np.ndarray
    times_ms: list


def session_options(settings: dict) -> Any:
    """Fixed thread count, operators one after the other, the graph optimisations asked for.

    Worker threads spin between the operators of a call, which is ONNX Runtime's default and what
    a server does, but stop at its end: idle sessions would take the cores of the one measured.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings["threads"]
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, settings["optimization"])
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return options


def make_runner(model: Any, settings: dict, options: Any = None) -> Runner:
    """A session of a model (bytes, or the path of a file) and its input; symbolic dimensions become the batch."""
    session = onnxruntime.InferenceSession(
        model,
        options or session_options(settings),
        providers=[(settings["provider"], dict(settings["provider_options"]))],
    )
    rng = np.random.default_rng(0)
    feed = {}
    for value in session.get_inputs():
        shape = [n if isinstance(n, int) else settings["batch"] for n in value.shape]
        kind = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}[value.type]
        feed[value.name] = (rng.random(shape, dtype=np.float32) * (255 if kind is np.uint8 else 1)).astype(kind)
    return Runner(session, feed)


def fingerprint(provider: str) -> dict:
    """What latencies depend on and the host cannot know: CPU, accelerator, version of the runtime."""
    cpu, flags = _cpu()
    accelerator = ""
    if provider != "CPUExecutionProvider" and hasattr(onnxruntime, "get_ep_devices"):
        found = [d.device for d in onnxruntime.get_ep_devices() if d.ep_name == provider]
        accelerator = "; ".join(sorted({f"{d.vendor} {d.metadata.get('Description', '')}".strip() for d in found}))
    return {
        "cpu": cpu,
        "cpu_flags": flags,
        "accelerator": accelerator,
        "onnxruntime": onnxruntime.__version__,
    }


def _cpu() -> tuple:
    """Name of the CPU, and those of its instruction sets that decide which kernels run."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            info = file.read()
    except OSError:
        return platform.processor() or platform.machine(), []
    values = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in info.splitlines())}
    name = values.get("model name") or platform.machine()
    numbers = "/".join(values[k] for k in ("cpu family", "model", "stepping") if k in values)
    present = set(re.split(r"\s+", values.get("flags") or values.get("Features") or ""))
    return (f"{name} ({numbers})" if numbers else name), [flag for flag in _FLAGS if flag in present]


# -- whole models ----------------------------------------------------------------------------------


def run_rounds(
    runners: Sequence[Callable[[], None]],
    *,
    tolerance: float,
    rounds: Sequence[int],
    seconds: float,
    rng: np.random.Generator,
    report: Callable[[float], None],
) -> Rounds:
    """Runs rounds until the medians are known; measuring.py says how and why.

    Args:
        runners: The sessions.
        tolerance: Stop when the confidence interval of every median is within this share.
        rounds: Fewest and most rounds.
        seconds: Stop after this time, but not before the fewest rounds.
        rng: For the order.
        report: Called after every round with the estimated share of the work that is done.
    """
    start = time.perf_counter()
    calls = [_calls(_warm_up(runner)) for runner in runners]
    kept: list = []  # rounds x sessions, the recorded calls
    orders: list = []  # rounds x sessions, which came when
    repeats = 0
    while True:
        row: list = [None] * len(runners)
        orders.append(rng.permutation(len(runners)))
        for i in orders[-1]:
            row[i] = _sample(runners[i], *calls[i])
        kept.append(row)
        samples = np.array([[np.median(times) for times in r] for r in kept])
        late = time.perf_counter() - start >= seconds
        speed = np.median(samples / np.median(samples, axis=0), axis=1)
        if speed[-1] > SLOW_ROUND * np.median(speed) and repeats < rounds[1] // 2 and not late:
            kept.pop()
            orders.pop()
            repeats += 1
            continue
        medians, errors = _typical(samples, np.array(orders))
        worst = float((errors / medians).max())
        enough = late or worst <= tolerance or len(kept) >= rounds[1]
        if enough and len(kept) >= rounds[0]:
            break
        spent = (time.perf_counter() - start) / max(seconds, 1e-9)
        report(min(max(len(kept) / rounds[1], min(spent, 0.95)), 1.0))
    return Rounds(medians, errors, [np.concatenate(times) for times in zip(*kept)])  # noqa: B905 (Python 3.8)


def _typical(samples: np.ndarray, orders: np.ndarray) -> tuple:
    """Median over rounds with the machine's speed divided out, and its error `[sessions]`.

    The speed at a sample is the median, over the samples of *other* sessions shortly before and
    after it, of sample over typical sample.

    Args:
        samples: Milliseconds `[rounds, sessions]`.
        orders: Sessions in the order in which each round ran them `[rounds, sessions]`.
    """
    rounds, sessions = samples.shape
    if sessions > 1:
        session = orders.ravel()  # in the order of time
        times = np.take_along_axis(samples, orders, axis=1).ravel()
        relative = times / np.median(samples, axis=0)[session]
        near = np.arange(len(times))[:, None] + [d for d in range(-_NEIGHBOURS, _NEIGHBOURS + 1) if d]
        inside = (near >= 0) & (near < len(times))
        near = np.clip(near, 0, len(times) - 1)
        other = inside & (session[near] != session[:, None])
        speed = np.nanmedian(np.where(other, relative[near], np.nan), axis=1)
        times = times / (speed / np.median(speed))
        samples = np.empty_like(samples)
        np.put_along_axis(samples, orders, times.reshape(rounds, sessions), axis=1)
    spread = np.subtract(*np.quantile(samples, (0.75, 0.25), axis=0))
    return np.median(samples, axis=0), 1.57 * spread / np.sqrt(rounds)  # McGill et al.'s notches


def _warm_up(runner: Callable[[], None]) -> float:
    """Runs until two calls in a row agree within 5 % (at most 0.5 s); returns ms per call."""
    runner()
    last, end = np.inf, time.perf_counter() + 0.5
    while True:
        start = time.perf_counter()
        runner()
        now = time.perf_counter()
        ms = (now - start) * 1e3
        if abs(ms - last) <= 0.05 * ms or now > end:
            return ms
        last = ms


def _calls(ms: float) -> tuple:
    """Unrecorded and recorded calls of a sample, for a model of that latency."""
    return (2 if ms < 1 else 1), int(np.clip(RECORDED_MS / ms, 3, 8))


def _sample(runner: Callable[[], None], unrecorded: int, recorded: int) -> np.ndarray:
    """Milliseconds of the recorded calls."""
    for _ in range(unrecorded):
        runner()
    ticks = np.empty(recorded + 1)
    ticks[0] = time.perf_counter()
    for i in range(recorded):
        runner()
        ticks[i + 1] = time.perf_counter()
    return np.diff(ticks) * 1e3


# -- kernels ---------------------------------------------------------------------------------------


def trace(models: Sequence[Any], settings: dict, rounds: int, calls: int) -> list:
    """What the runtime's profiler sees inside models that run in turns.

    Args:
        models: As for `make_runner`.
        settings: Of the sessions.
        rounds: Turns.
        calls: Recorded calls of a turn; two more come before them to settle the caches.

    Returns:
        For every model: "nodes" (names in the order of execution), "us" (microseconds
        `[rounds * calls, nodes]`) and "graph" (the optimised model without weights, base64).
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        runners = []
        for i, model in enumerate(models):
            options = session_options(settings)
            options.enable_profiling = True
            options.profile_file_prefix = os.path.join(folder, f"profile{i}")
            options.optimized_model_filepath = os.path.join(folder, f"optimized{i}.onnx")
            # weights go to a file of their own: the graph is wanted, they are not
            options.add_session_config_entry(
                "session.optimized_model_external_initializers_file_name", f"weights{i}.bin"
            )
            options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "64")
            runners.append(make_runner(model, settings, options))
            weights = os.path.join(folder, f"weights{i}.bin")
            if os.path.exists(weights):
                os.unlink(weights)
        for _ in range(rounds):
            for runner in runners:
                for _ in range(calls + 2):
                    runner()
        for i, runner in enumerate(runners):
            with open(runner.session.end_profiling(), encoding="utf-8") as file:
                names, us = _node_times(json.load(file), rounds * (calls + 2))
            kept = us.reshape(rounds, calls + 2, -1)[:, 2:].reshape(rounds * calls, -1)
            with open(os.path.join(folder, f"optimized{i}.onnx"), "rb") as file:
                graph = base64.b64encode(file.read()).decode()
            found.append({"nodes": names, "us": kept.tolist(), "graph": graph})
    return found


def _node_times(events: list, calls: int) -> tuple:
    """Names of the nodes of one call in order, and microseconds `[calls, nodes]`."""
    suffix = "_kernel_time"
    nodes = [e for e in events if e.get("cat") == "Node" and e["name"].endswith(suffix)]
    if not nodes or len(nodes) % calls:
        raise RuntimeError(f"The profiler saw {len(nodes)} nodes in {calls} calls; these do not divide.")
    names = [e["name"][: -len(suffix)] for e in nodes[: len(nodes) // calls]]
    return names, np.array([e["dur"] for e in nodes], dtype=np.int64).reshape(calls, -1)


# -- tasks -----------------------------------------------------------------------------------------


class Bench:
    """Runs tasks; sessions of anchors stay open from one task to the next.

    Args:
        settings: threads, provider, provider_options, batch, optimization.
        load: From the number of a model to what `make_runner` takes.
    """

    def __init__(self, settings: dict, load: Callable[[int], Any]) -> None:
        self._settings, self._load = settings, load
        self._anchors: dict = {}

    def __call__(self, task: dict, report: Callable[[float], None]) -> dict:
        """Record of a task: see `trace` for kind "trace", and `_time` for kind "time"."""
        if task["kind"] == "trace":
            models = [self._load(i) for i in [*task["models"], *task["anchors"]]]
            return {"profiles": trace(models, self._settings, task["rounds"], task["calls"])}
        return self._time(task, report)

    def _time(self, task: dict, report: Callable[[float], None]) -> dict:
        """Latencies of models and of anchors, one row a model: median, p10, p90, calls, error (ms)."""
        for i in task["anchors"]:
            if i not in self._anchors:
                self._anchors[i] = make_runner(self._load(i), self._settings)
        copies, sessions = task["copies"], []
        opening = 0.3  # share of the time that opening sessions takes, about
        for n, i in enumerate(task["models"]):
            model = self._load(i)
            sessions += [make_runner(model, self._settings) for _ in range(copies)]
            report(opening * (n + 1) / len(task["models"]))
        rounds = run_rounds(
            sessions + [self._anchors[i] for i in task["anchors"]],
            tolerance=task["tolerance"],
            rounds=task["rounds"],
            seconds=task["seconds"],
            rng=np.random.default_rng(task["seed"]),
            report=lambda share: report(opening + (1 - opening) * share),
        )
        rows = []
        for i in range(0, len(sessions), copies):
            columns = slice(i, i + copies)
            times = np.concatenate(rounds.times_ms[columns])
            median = float(np.median(rounds.median_ms[columns]))
            low, high = (float(q) for q in np.quantile(times, (0.1, 0.9)))
            error = float(rounds.error_ms[columns].mean() / np.sqrt(copies))
            rows.append([median, min(low, median), max(high, median), len(times), error])
        return {"latencies": rows, "anchors": rounds.median_ms[len(sessions) :].tolist()}


def run_bundle(path: str, out: str, say: Callable[[str], Any] = print) -> None:
    """Runs the tasks of a bundle that `out` does not hold yet; every finished task is on disk at once.

    Args:
        path: The bundle: plan.json and models/N.onnx in a zip file.
        out: JSON lines: a header with the plan's digest and this machine, then a record a task.
        say: Gets a JSON line per step of progress.
    """
    with zipfile.ZipFile(path) as bundle, open(out + ".lock", "w", encoding="utf-8") as lock:
        _wait_for(lock)
        plan = json.loads(_member(bundle, "plan.json"))
        done = _finished(out, plan["digest"])
        bench = Bench(plan["settings"], lambda i: _member(bundle, f"models/{int(i)}.onnx"))
        with open(out, "a" if done else "w", encoding="utf-8") as file:
            if not done:
                _write(file, {"digest": plan["digest"], "machine": fingerprint(plan["settings"]["provider"])})
            for task in plan["tasks"]:
                if task["name"] in done:
                    continue

                def report(share: float, name: str = task["name"]) -> None:
                    say(json.dumps({"task": name, "share": round(share, 4)}))

                _write(file, {"name": task["name"], "record": bench(task, report)})
                report(1.0)


def _wait_for(lock: Any) -> None:
    """Waits until no other process measures the same: one may outlive the connection that started it."""
    try:
        import fcntl
    except ImportError:  # Windows, where a lost connection ends what it started
        return
    fcntl.flock(lock, fcntl.LOCK_EX)


def _member(bundle: zipfile.ZipFile, name: str) -> bytes:
    if bundle.getinfo(name).file_size > MAX_MEMBER_BYTES:
        raise ValueError(f"{name} of the bundle is larger than {MAX_MEMBER_BYTES} bytes.")
    return bundle.read(name)


def _finished(path: str, digest: str) -> set:
    """Names of the tasks that a file of results holds; a last line cut short by a power loss is cut off."""
    if not os.path.exists(path):
        return set()
    with open(path, "rb+") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)
    rows = [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
    if not rows or rows[0].get("digest") != digest:
        return set()
    return {"", *(row["name"] for row in rows[1:])}  # "": the header is there


def _write(file: Any, row: dict) -> None:
    file.write(json.dumps(row) + "\n")
    file.flush()
    os.fsync(file.fileno())


def main(arguments: Sequence[str]) -> None:
    """Runs a bundle and packs its results, or describes this machine."""
    if len(arguments) == 2 and arguments[0] == "--machine":
        print(json.dumps(fingerprint(arguments[1])))
        return
    if not arguments and zipfile.is_zipfile(sys.argv[0]):
        arguments = [sys.argv[0]]
    if len(arguments) != 1 or not arguments[0].endswith(".zip"):
        sys.exit("usage: python3 device_side.py BUNDLE.zip")
    stem = arguments[0][: -len(".zip")]
    try:
        run_bundle(arguments[0], stem + ".results.jsonl", lambda line: print(line, flush=True))
    except Exception as error:
        reason = " ".join(str(error).split())
        sys.exit(
            f"error: {arguments[0]}: {type(error).__name__}: {reason}. If the file is damaged, carry it over again."
        )
    with zipfile.ZipFile(stem + ".results.part", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(stem + ".results.jsonl", "results.jsonl")
    os.replace(stem + ".results.part", stem + ".results.zip")
    print(f"Done. Carry {stem}.results.zip back, and import it there with --import.", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
