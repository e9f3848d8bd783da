"""Cuts off the writing of every kind of file at every step: `python write_faults.py FOLDER` prints what remained.

Each writer first leaves version 1. Then a child process writes version 2 and is killed at its first, second, third ...
change of the file system, or finds the disk full after so many bytes. What is read afterwards must be a whole version.
"""

import json
import os
import resource
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fuzz_samples import made_table

from latency_tables import LatencyTable
from latency_tables.bundle import write_bundle
from latency_tables.devices import Device
from latency_tables.journal import Journal
from latency_tables.plan import Plan
from nas.errors import UserError
from nas.files import write_json
from nas.runs import Run
from nas.search.log import EvaluationLog
from predictors import KernelPredictor
from predictors.regression import FeatureRegression
from search_spaces import get_space
from supernets.checksums import first_damaged, write_checksums

KILLED, FULL = 9, 1
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.truncate"}
SPACE = get_space("ofa_mbv3", width=0.1, num_classes=2, resolutions=[12], stem_stride=2, in_channels=1)
X = SPACE.sample(np.random.default_rng(0), 12)
NETWORKS = [SPACE.network(x) for x in X]


TABLES = {version: made_table(SPACE, NETWORKS, float(version)) for version in (1, 2)}
FIRST = next(iter(TABLES[1].kernels))
KERNELS = {version: KernelPredictor().fit([TABLES[version]]) for version in (1, 2)}
REGRESSIONS = {
    version: FeatureRegression("ridge").fit(np.arange(60.0).reshape(20, 3) ** 0.5, version * np.arange(20.0))
    for version in (1, 2)
}


PLANS = {version: Plan(Device("d"), NETWORKS[:2], [{"name": str(version)}]) for version in (1, 2)}


def bundled(path: Path) -> str:
    """Digest of the plan in a whole bundle."""
    with zipfile.ZipFile(path) as bundle:
        assert bundle.testzip() is None
        return str(json.loads(bundle.read("plan.json"))["digest"])


def journal(folder: Path, version: int) -> None:
    """Version 1 holds one record, version 2 opens that for resuming and adds a second."""
    grown = Journal(folder / "journal.jsonl", {"device": "d"}, resume=version == 2)
    grown.add(str(version), {"ms": [0.1] * 50})


def read_journal(folder: Path) -> int:
    """The version; a lost first record is version 0."""
    found = Journal(folder / "journal.jsonl", {"device": "d"}, resume=True)
    return 0 if "1" not in found else 2 if "2" in found else 1


def log(folder: Path, version: int) -> None:
    """As `journal`, for the log of a search."""
    path = folder / "log.jsonl"
    if version == 1:
        path.unlink(missing_ok=True)
    EvaluationLog(SPACE, ["error"], path, {}).append(X[version - 1], [1.0])


def read_log(folder: Path) -> int:
    """Evaluations in the log."""
    return len(EvaluationLog(SPACE, ["error"], folder / "log.jsonl", {}).replay(X))


def run(folder: Path, version: int) -> None:
    """Version 1 is no run, version 2 a new one."""
    if version == 1:
        shutil.rmtree(folder / "run", ignore_errors=True)
    else:
        Run.create(folder / "run", SPACE, data={"source": "x"}, train={"epochs": 1})


def read_run(folder: Path) -> int:
    """A `config.json` that is there must be whole."""
    return 2 if (folder / "run" / "config.json").exists() and Run.open(folder / "run").space.size else 1


def sums(folder: Path, version: int) -> None:
    """Checksums of a folder that is the same in both versions."""
    del version
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state" / "a").write_text("a") if not (folder / "state" / "a").exists() else None
    write_checksums(folder / "state", folder / "sums.json")


WRITERS: dict[str, tuple[Callable[[Path, int], object], Callable[[Path], int]]] = {
    "JSON": (
        lambda folder, version: write_json(folder / "front.json", [version] * 999),
        lambda folder: json.loads((folder / "front.json").read_text())[-1],
    ),
    "run": (run, read_run),
    "log": (log, read_log),
    "journal": (journal, read_journal),
    "table": (
        lambda folder, version: TABLES[version].write(folder / "t.parquet"),
        lambda folder: round(LatencyTable.read(folder / "t.parquet").kernels[FIRST].cost_ms),
    ),
    "kernel models": (
        lambda folder, version: KERNELS[version].write(folder / "k.npz"),
        lambda folder: round(KernelPredictor.read(folder / "k.npz").kernels_[FIRST]),
    ),
    "regression": (
        lambda folder, version: REGRESSIONS[version].save(folder / "r.npz"),
        lambda folder: round(FeatureRegression.load(folder / "r.npz").y_[1]),
    ),
    "checksums": (sums, lambda folder: 2 if first_damaged(folder / "state", folder / "sums.json") is None else 0),
    "bundle": (
        lambda folder, version: write_bundle(PLANS[version], folder / "b.zip"),
        lambda folder: next(v for v, plan in PLANS.items() if plan.digest == bundled(folder / "b.zip")),
    ),
}


def child(act: Callable[[], object], step: int | None, most: int | None) -> int:
    """Exit code of a process that writes until it is cut off."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    done = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal done
        writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES or writing:
            if done == step:
                os._exit(KILLED)
            done += 1

    if most is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))  # Python ignores SIGXFSZ
    if step is not None:
        sys.addaudithook(watch)
    try:
        act()
    except (OSError, UserError):
        os._exit(FULL)
    except BaseException as error:  # never into the parent's frames
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(2)
    os._exit(0)


def main(folder: Path) -> None:
    """Prints a JSON line for every writer: kills, full disks, and the versions read after them."""
    for name, (write, read) in WRITERS.items():
        kills = full = 0
        versions = set()
        while True:
            write(folder, 1)
            code = child(lambda write=write: write(folder, 2), kills, None)
            versions.add(read(folder))
            if code == 0:
                break
            assert code == KILLED, (name, code)
            kills += 1
        for most in (0, 1, 7, 20, 64, 150, 400, 1000, 3000, 9000):
            write(folder, 1)
            code = child(lambda write=write: write(folder, 2), None, most)
            assert code in (0, FULL), (name, code)
            versions.add(read(folder))
            full += code == FULL
        print(json.dumps({"writer": name, "kills": kills, "full": full, "versions": sorted(versions)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
