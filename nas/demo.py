"""The demonstration: from nothing to deployable networks on this machine, with the embedded data."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEVICE = "local-cpu-1t"
DATA = "fashion-mnist-6k"
VALIDATION = 1000
SPACE = "ofa_mbv3"
SPACE_OPTIONS: dict[str, object] = {"width": 0.5, "resolutions": (18, 40), "stem_stride": 2}
TRAINING: dict[str, Any] = {
    "epochs": 32,
    "warm_epochs": 14,
    "batch_size": 64,
    "peak_lr": 0.1,
    "random_subnets": 1,
    "dropout": 0.0,
}
EVALUATIONS = 120
PICKS = ["fastest", "knee", "most_accurate"]


def run_demo(out: Path, seed: int) -> dict[str, Any]:
    """Profiles this CPU, trains, searches, exports three networks, writes the report.

    Every step continues where an interrupted run stopped.
    """
    from latency_tables import get_device
    from nas.commands.profile import profile_space
    from nas.export import export_picks
    from nas.lock import locked
    from nas.report.page import write_report
    from nas.report.picture import write_picture
    from nas.search_run import SearchSettings, search_run
    from nas.train_run import space_for, train_run
    from supernets import TrainConfig
    from supernets.data import load_dataset

    seconds: dict[str, float] = {}
    data = load_dataset(DATA)
    space = space_for(SPACE, data, SPACE_OPTIONS)
    with _timed(seconds, "profile"):
        profile_space(space, get_device(DEVICE), out / "tables" / f"{DEVICE}.parquet", seed=seed)
    with _timed(seconds, "train"), locked(out, "nas demo"):
        config = TrainConfig(seed=seed, **TRAINING)
        train_run(out, space, data, DATA, config, validation=VALIDATION, size=None)
    with _timed(seconds, "search"), locked(out, "nas demo", part=DEVICE):
        document = search_run(out, SearchSettings(device=DEVICE, evaluations=EVALUATIONS, seed=seed))
    with _timed(seconds, "export"):
        cards = export_picks(out, PICKS, DEVICE)
    report = write_report(out)
    write_picture(out, out / "front.png")
    return {
        "exports": cards,
        "report": str(report),
        "picture": str(out / "front.png"),
        "front": document["front"],
        "baselines": document["baselines"],
        "predictor": {k: v for k, v in document["predictor"].items() if k != "predicted"},
        "table": document["table"],
        "seconds": seconds,
    }


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - start, 1)
