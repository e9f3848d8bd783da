r"""Does the Q-T score rank spaces as supernets trained on them do, and are designed spaces better than hand-made ones?

    scripts/bench_space_design.py score DESIGNED --data cifar10/ --out bench/ --epochs 2 --precision bf16 --at-once 8
    scripts/bench_space_design.py fronts DESIGNED --data cifar10/ --out bench/ --tables bench/tables --epochs 50 \
        --int8-epochs 4 --evaluations 48 --most-ms 1.7 --at-once 12 --after-first --with "--batch-size 1024 --lr 0.4 \
        --warm-epochs 5 --weight-decay 5e-4 --shift 4 --precision bf16 --validation 5000"
    scripts/bench_space_design.py measure DESIGNED --data cifar10/ --out bench/
    scripts/bench_space_design.py picks DESIGNED --out bench/ --fronts bench/measure.json
    scripts/bench_space_design.py alone DESIGNED --data cifar10/ --out bench/ --fronts bench/picks.json \
        --precision bf16 --at-once 12
    scripts/bench_space_design.py measure DESIGNED --data cifar10/ --out bench/ --of alone

DESIGNED is a folder of `nas design-space`. What is finished is not done again, so that a killed benchmark continues.
--at-once 12 divides a part among twelve processes, the GPUs in turn; --share 0/4 does a quarter of it.

score: Spearman between the score of random spaces of the hyperspace and the hypervolume of the front that a short real
training of each reaches (scripts/space_score.py; asked: at least 0.6).
fronts: the designed space and hand-made ones, quantised for all, with every seed, and networks out of each by the INT8
latency tables TABLES/SPACE.parquet (of `nas profile`; the designed space has its own). Best where a GPU is.
picks: the designed space's networks of least distilled loss, in place of those of its supernet, for alone.
alone: networks of fronts that `measure` or picks wrote, each trained on its own, without a supernet, then quantised.
measure: the files of fronts or of alone, on the device that they are for (asked: 1.5x faster at equal accuracy, or 2
points more accurate at equal latency); the last result is kept in benchmarks/. --beside takes the accuracies of fronts
whose files were not kept from an earlier result, and times their networks anew; with --of beside nothing else, which
says what an earlier result is worth on this device. --float stem stage0 times each network with these operators in
float too, and takes the faster form.
"""

import argparse
import hashlib
import json
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from space_options import BESIDE, own_table, parsed, table_of
from space_supernets import DESIGNED, HAND_MADE, is_designed
from supernet_parts.common import at_once, share_of

from nas.jax_setup import keep_programs, spare_autotuning

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks"
KEPT_AS = "space-design-"  # names of results begin so
ASKED = {"times_faster": 1.5, "points_better": 2.0}


def score_part(options: argparse.Namespace) -> dict[str, Any]:
    """Random spaces: Q-T score against the hypervolume of a real supernet's front, to the largest limit."""
    from dataclasses import asdict

    from scipy.stats import spearmanr
    from space_score import Short, reached

    from latency_tables import LatencyTable
    from nas.design.evolution import random_design
    from nas.design.scoring import opened
    from nas.files import write_json
    from supernets.data import load_dataset

    designed = opened(options.designed, options.table)
    hyper, score, limits = designed.hyper, designed.score, designed.limits_ms
    table, data = LatencyTable.read(own_table(options)), load_dataset(options.data)
    how = Short(options.epochs, options.batch, precision=options.precision, seed=options.seed)
    training = asdict(how) | {"table": hashlib.sha256(own_table(options).read_bytes()).hexdigest()[:8]}
    rng = np.random.default_rng([options.seed, 50])
    designs = [random_design(hyper, rng) for _ in range(options.spaces)]
    files = [options.out / "score" / f"{''.join(map(str, design))}.json" for design in designs]
    for design, path in share_of(options, [*zip(designs, files, strict=True)]):
        if trained_so(path, training) is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, reached(hyper, design, data, table, max(limits), how) | {"training": training})
        print(path, file=sys.stderr)
    found = zip(designs, (trained_so(path, training) for path in files), strict=True)
    rows = [row | {"score": score(design)} for design, row in found if row is not None]
    document: dict[str, Any] = {"asked": 0.6, "limits_ms": limits, "training": training, "spaces": rows}
    if len(rows) == len(designs):
        document["spearman"] = float(spearmanr([r["score"] for r in rows], [r["hypervolume"] for r in rows]).statistic)
        if options.share == "0/1":
            keep("score", document, options)
    return document


def trained_so(path: Path, training: dict[str, Any]) -> dict[str, Any] | None:
    """What is kept of a space, if it was trained in this way."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found if found.get("training") == training else None


def runs(options: argparse.Namespace) -> list[tuple[str, int]]:
    """Every space and seed."""
    return [(name, seed) for name in (DESIGNED, *HAND_MADE) for seed in range(options.seeds)]


def fronts_part(options: argparse.Namespace) -> dict[str, Any]:
    """A supernet of every space and seed, quantised for all, and networks chosen out of it."""
    from space_supernets import quantised_supernet

    done = []
    for name, seed in share_of(options, runs(options)):
        if not chosen(options, name, seed):
            choose(options, name, seed, quantised_supernet(options, name, seed))
        done.append(str(front_of(options, name, seed)))
    return {"fronts": done}


def choose(options: argparse.Namespace, name: str, seed: int, run: Path) -> None:
    """Networks of a quantised supernet, as files."""
    import space_fronts

    from latency_tables import LatencyTable
    from nas.runs import Run

    how = space_fronts.Choosing(options.evaluations, seed, options.most_ms)
    table = LatencyTable.read(table_of(options, name))
    space_fronts.choose(Run.open(run), table, front_of(options, name, seed), how)


def front_of(options: argparse.Namespace, name: str, seed: int) -> Path:
    """Folder of what is chosen."""
    return Path(options.out) / "fronts" / f"{name}-{seed}"


def chosen(options: argparse.Namespace, name: str, seed: int) -> bool:
    """Whether the networks of a space and seed are there."""
    from space_fronts import RECORD

    return (front_of(options, name, seed) / RECORD).is_file()


def alone_part(options: argparse.Namespace) -> dict[str, Any]:
    """Networks of fronts that were measured, each trained on its own."""
    from space_alone import Alone, picked, record, train_one

    from supernets.data import load_dataset

    how = Alone(options.epochs, options.batch, options.precision, options.networks)
    fronts = json.loads(options.fronts.read_text())["fronts"]
    data, out = load_dataset(options.data), options.out / "alone"
    picks = [[(front, index) for index in picked(front, how)] for front in fronts]
    # the fastest of all fronts first: dealt out front by front, one process would get all the slowest
    items = [item for rank in zip_longest(*picks) for item in rank if item]
    for front, index in share_of(options, items):
        print(train_one(front, index, data, out / front["folder"], how), file=sys.stderr)
    return {"alone": [str(out / f["folder"]) for f in fronts if record(f, data.name, out / f["folder"], how)]}


def picks_part(options: argparse.Namespace) -> dict[str, Any]:
    """Fronts of networks that the lookup says are best, beside those of the other spaces."""
    from nas.design.best import designed_networks
    from nas.design.scoring import opened

    designed = opened(options.designed, options.table)
    limits = options.limits or designed.limits_ms
    if options.networks:
        limits = np.geomspace(min(limits), max(limits), options.networks).tolist()
    space, size = designed.hyper.space(designed.best), max(designed.hyper.resolutions)
    found = designed_networks(designed, limits)
    rows = [{"arch": arch, "size": size, "table_ms": pick.latency_ms} for arch, pick in found]
    ours = {"space": {"name": space.name, "options": space.options}, "networks": rows}
    theirs = [f for f in json.loads(options.fronts.read_text())["fronts"] if not is_designed(f["folder"])]
    seeds = sorted({front["seed"] for front in theirs})
    return {"fronts": [{"folder": f"{DESIGNED}-{seed}", "seed": seed} | ours for seed in seeds] + theirs}


def chosen_fronts(options: argparse.Namespace, kind: str) -> list[Path]:
    """Folders of all fronts that are there, of networks of supernets or trained alone."""
    from space_fronts import RECORD

    found = sorted(path.parent for path in (options.out / kind).glob(f"*/{RECORD}"))
    if not any(is_designed(path.name) for path in found):
        raise SystemExit(
            f"{options.out / kind} holds no front of the designed space; the part that makes it is {kind}."
        )
    return found


def measure_part(options: argparse.Namespace) -> dict[str, Any]:
    """The files of all fronts on the device, and the designed space against the others."""
    from space_compare import compared, picture
    from space_fronts import measured

    beside = json.loads(options.beside.read_text()) if options.beside else None
    folders, floats = [] if options.of == BESIDE else chosen_fronts(options, options.of), tuple(options.float)
    document = measured(folders, options.data, options.device, options.seconds, beside, floats)
    document |= {"beside": options.beside.name} if options.beside else {}
    document |= {"asked": ASKED, "against": compared(document["fronts"], DESIGNED)}
    keep(name_of(document["data"], options), document, options)
    picture(document, options.out / f"{options.of}.png")
    return document


def name_of(data: str, options: argparse.Namespace) -> str:
    """Of the result in benchmarks/: after data and design, or after the result that was timed again."""
    if options.of == BESIDE:
        return f"{options.beside.stem.removeprefix(KEPT_AS)}-again"
    _, _, designed_for = options.designed.resolve().name.partition("-")  # of designed-vnni it is vnni
    return data + suffix(options) + (f"-{designed_for}" if designed_for else "")


def suffix(options: argparse.Namespace) -> str:
    """Of the names of files with results: what was measured, where it is not fronts of supernets."""
    return f"-{options.of}" if options.part == "measure" and options.of != "fronts" else ""


def keep(name: str, document: dict[str, Any], options: argparse.Namespace) -> None:
    """Writes the result down, of a run in full."""
    from nas.files import write_json

    if not options.quick:
        write_json(RESULTS / f"{KEPT_AS}{name}.json", document)


PARTS = {
    "score": score_part,
    "fronts": fronts_part,
    "picks": picks_part,
    "alone": alone_part,
    "measure": measure_part,
}


def main() -> None:
    """Runs a part and prints its JSON document."""
    options = parsed(__doc__)
    spare_autotuning()  # both before anything imports JAX
    keep_programs()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.at_once > 1:
        at_once(options.at_once, options.out / options.part, together=options.part == "fronts")
    document = PARTS[options.part](options)
    text = json.dumps(document, indent=1)
    (options.out / f"{options.part}{suffix(options)}.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
