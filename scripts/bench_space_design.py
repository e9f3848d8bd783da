"""Does the Q-T score rank spaces as supernets trained on them do, and are designed spaces better than hand-made ones?

    scripts/bench_space_design.py score DESIGNED --data cifar10/ --out bench/ --spaces 50 --epochs 2 --at-once 12
    scripts/bench_space_design.py fronts DESIGNED --data cifar10/ --out bench/ --tables bench/tables --epochs 60 \
        --at-once 12 --after-first --with "--batch-size 512 --lr 0.2 --precision bf16 --validation 5000"
    scripts/bench_space_design.py measure DESIGNED --data cifar10/ --out bench/

DESIGNED is a folder of `nas design-space`. What is finished is not done again, so that a killed benchmark continues.
--at-once 12 divides a part among twelve processes, the GPUs in turn; --share 0/4 does a quarter of it.

score: Spearman between the score of random spaces of the hyperspace and the hypervolume of the front that a short real
training of each reaches (scripts/space_score.py; asked: at least 0.6).
fronts: the designed space and hand-made ones, quantised for all, with every seed (train), and networks out of each by
the INT8 latency tables TABLES/SPACE.parquet (of `nas profile`; the designed space has its own; choose). Best where a
GPU is.
measure: the files that were chosen, on the device that they are for (asked: 1.5x faster at equal accuracy, or 2 points
more accurate at equal latency); the last result is kept in benchmarks/.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from supernet_parts.common import share_of

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks"
DESIGNED, HAND_MADE = "designed", ("ofa_mbv3", "ofa_proxyless", "ofa_resnet50")
ASKED = {"times_faster": 1.5, "points_better": 2.0}


def score_part(options: argparse.Namespace) -> dict[str, Any]:
    """Random spaces: Q-T score against the hypervolume of a real supernet's front, to the largest limit."""
    from dataclasses import asdict

    from scipy.stats import spearmanr
    from space_score import Short, reached

    from latency_tables import LatencyTable
    from nas.design.evolution import random_design
    from nas.design.run import opened
    from nas.files import write_json
    from nas.jax_setup import keep_programs, spare_autotuning
    from supernets.data import load_dataset

    spare_autotuning()
    keep_programs()
    hyper, score, limits = opened(options.designed, options.table)
    table, data = LatencyTable.read(own_table(options)), load_dataset(options.data)
    how = Short(options.epochs, options.batch, seed=options.seed)
    rng = np.random.default_rng([options.seed, 50])
    designs = [random_design(hyper, rng) for _ in range(options.spaces)]
    files = [options.out / "score" / f"{''.join(map(str, design))}.json" for design in designs]
    for design, path in share_of(options, [*zip(designs, files, strict=True)]):
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, reached(hyper, design, data, table, max(limits), how) | {"score": score(design)})
        print(path, file=sys.stderr)
    rows = [json.loads(path.read_text()) for path in files if path.is_file()]
    document: dict[str, Any] = {"asked": 0.6, "limits_ms": limits, "training": asdict(how), "spaces": rows}
    if len(rows) == len(designs):
        document["spearman"] = float(spearmanr([r["score"] for r in rows], [r["hypervolume"] for r in rows]).statistic)
        keep("score", document, options)
    return document


def own_table(options: argparse.Namespace) -> Path:
    """The INT8 table of the hyperspace."""
    if options.table:
        return Path(options.table)
    device = json.loads((options.designed / "design.json").read_text())["device"]
    return Path(options.designed) / "tables" / f"{device}.parquet"


def runs(options: argparse.Namespace) -> list[tuple[str, int]]:
    """Every space and seed."""
    return [(name, seed) for name in (DESIGNED, *HAND_MADE) for seed in range(options.seeds)]


def train_part(options: argparse.Namespace) -> dict[str, Any]:
    """A supernet of every space and seed, then quantised for all."""
    done, stems = [], dict(zip(HAND_MADE, options.stems.split(","), strict=True))
    for name, seed in share_of(options, runs(options)):
        if chosen(options, name, seed):
            continue
        plain, quantised = (options.out / f"{name}-{seed}" / kind for kind in ("fp32", "int8"))
        space = str(options.designed) if name == DESIGNED else name
        extra = [*shlex.split(options.extra), "--epochs", options.epochs, "--seed", seed]
        if name != DESIGNED:
            extra += ["-o", f"stem_stride={stems[name]}"]
        if options.after_first and seed:
            begun(options.out / f"{name}-0" / "fp32")
        nas("train", space, "--data", options.data, "--out", plain, *extra)
        if options.after_first and seed:
            begun(options.out / f"{name}-0" / "int8")
        reference = json.loads((plain / "config.json").read_text())["space"]["name"]
        nas("train", reference, "--method", "qfa", "--from", plain, "--out", quantised)
        done.append(str(quantised))
    return {"runs": done}


def chosen(options: argparse.Namespace, name: str, seed: int) -> bool:
    """Whether the networks of a space and seed are there."""
    from space_fronts import RECORD

    return bool((options.out / "fronts" / f"{name}-{seed}" / RECORD).is_file())


def begun(run: Path) -> None:
    """Waits until a training has begun, whose programs are kept and need not be compiled again."""
    while not [*run.glob("supernet/events*")]:
        time.sleep(1)


def nas(*arguments: object) -> None:
    """Runs `nas ARGS`; its progress goes to stderr."""
    subprocess.run([sys.executable, "-m", "nas", *map(str, arguments)], check=True, stdout=sys.stderr)


def choose_part(options: argparse.Namespace) -> dict[str, Any]:
    """Networks of every quantised supernet, as files."""
    from space_fronts import Choosing, choose

    from latency_tables import LatencyTable
    from nas.jax_setup import keep_programs
    from nas.runs import Run

    keep_programs()
    done = []
    for name, seed in share_of(options, runs(options)):
        folder = options.out / "fronts" / f"{name}-{seed}"
        path = own_table(options) if name == DESIGNED else options.tables / f"{name}.parquet"
        if not chosen(options, name, seed):
            run = Run.open(options.out / f"{name}-{seed}" / "int8")
            choose(run, LatencyTable.read(path), folder, Choosing(options.evaluations, seed, options.most_ms))
        done.append(str(folder))
    return {"fronts": done}


def fronts_part(options: argparse.Namespace) -> dict[str, Any]:
    """Both, so that a space and seed that is trained need not wait for the others."""
    return train_part(options) | choose_part(options)


def measure_part(options: argparse.Namespace) -> dict[str, Any]:
    """The files of all fronts on the device, and the designed space against the others."""
    from space_fronts import RECORD, compared, measured

    folders = sorted(path.parent for path in (options.out / "fronts").glob(f"*/{RECORD}"))
    document = measured(folders, options.data, options.device, options.seconds)
    document |= {"asked": ASKED, "against": compared(document["fronts"], DESIGNED)}
    keep(document["data"], document, options)
    return document


def keep(name: str, document: dict[str, Any], options: argparse.Namespace) -> None:
    """Writes the result down, of a run in full."""
    from nas.files import write_json

    if not options.quick:
        write_json(RESULTS / f"space-design-{name}.json", document)


def at_once(options: argparse.Namespace) -> None:
    """A part by several processes, a share each, the GPUs in turn; what they print goes to OUT/PART-I.log.

    Raises:
        SystemExit: if one fails, with its log's name.
    """
    from nas.processes import gpus

    names, n, started = gpus(), options.at_once, []
    for i in range(n):
        own = {"CUDA_VISIBLE_DEVICES": names[i % len(names)], "XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if names else {}
        path = options.out / f"{options.part}-{i}.log"
        with path.open("ab") as log:
            command = [sys.executable, *sys.argv, "--at-once", "1", "--share", f"{i}/{n}"]
            started.append((path, subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log)))
    if failed := [str(path) for path, process in started if process.wait()]:
        raise SystemExit(f"failed, see {', '.join(failed)}; what is finished stays, run it again.")


PARTS = {
    "score": score_part,
    "train": train_part,
    "choose": choose_part,
    "fronts": fronts_part,
    "measure": measure_part,
}


def main() -> None:
    """Runs a part and prints its JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("designed", type=Path)
    parser.add_argument("--data", help="As for `nas train`; all parts but choose want it.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="INT8 table of the hyperspace; by default the one in DESIGNED.")
    parser.add_argument("--tables", type=Path, help="Folder of the other spaces' INT8 tables.")
    parser.add_argument("--device", default="local-cpu-1t-int8")
    parser.add_argument("--spaces", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=60, help="Of every supernet; score wants few, 2 say.")
    parser.add_argument("--batch", type=int, default=512, help="Of the short trainings.")
    parser.add_argument("--with", dest="extra", default="", help="More options for nas train, as one word.")
    parser.add_argument("--stems", default="1,1,2", help=f"Strides of the first convolution: {', '.join(HAND_MADE)}.")
    parser.add_argument("--evaluations", type=int, default=96, help="Of the search in each supernet.")
    parser.add_argument("--most-ms", type=float, help="Largest latency of a chosen network.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", default="0/1", help="Which part of the work to do, I/N.")
    parser.add_argument("--at-once", type=int, default=1, help="Processes that a part is divided among.")
    parser.add_argument("--after-first", action="store_true", help="Seeds wait until the first one's training began.")
    parser.add_argument("--seconds", type=float, default=120.0, help="For the measurement.")
    parser.add_argument("--seed", type=int, default=0, help="Of the score.")
    parser.add_argument("--quick", action="store_true", help="Keeps no result in benchmarks/.")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.at_once > 1:
        at_once(options)
    document = PARTS[options.part](options)
    text = json.dumps(document, indent=1)
    (options.out / f"{options.part}.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
