r"""Does the Q-T score rank spaces as supernets trained on them do, and are designed spaces better than hand-made ones?

    scripts/bench_space_design.py score DESIGNED --data cifar10/ --out bench/ --epochs 3 --precision bf16 --at-once 12
    scripts/bench_space_design.py fronts DESIGNED --data cifar10/ --out bench/ --tables bench/tables --epochs 60 \
        --at-once 12 --after-first --with "--batch-size 512 --lr 0.2 --precision bf16 --validation 5000"
    scripts/bench_space_design.py measure DESIGNED --data cifar10/ --out bench/
    scripts/bench_space_design.py alone DESIGNED --data cifar10/ --out bench/ --fronts bench/measure.json \
        --epochs 50 --batch 1024 --precision bf16 --at-once 12
    scripts/bench_space_design.py measure DESIGNED --data cifar10/ --out bench/ --of alone

DESIGNED is a folder of `nas design-space`. What is finished is not done again, so that a killed benchmark continues.
--at-once 12 divides a part among twelve processes, the GPUs in turn; --share 0/4 does a quarter of it.

score: Spearman between the score of random spaces of the hyperspace and the hypervolume of the front that a short real
training of each reaches (scripts/space_score.py; asked: at least 0.6).
fronts: the designed space and hand-made ones, quantised for all, with every seed, and networks out of each by the INT8
latency tables TABLES/SPACE.parquet (of `nas profile`; the designed space has its own). Best where a GPU is.
alone: networks of fronts that `measure` wrote down, each trained on its own, without a supernet, then quantised.
measure: the files of fronts or of alone, on the device that they are for (asked: 1.5x faster at equal accuracy, or 2
points more accurate at equal latency); the last result is kept in benchmarks/.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from space_supernets import DESIGNED, HAND_MADE
from supernet_parts.common import at_once, share_of

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks"
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
    from nas.jax_setup import keep_programs, spare_autotuning
    from supernets.data import load_dataset

    spare_autotuning()
    keep_programs()
    hyper, score, limits = opened(options.designed, options.table)
    table, data = LatencyTable.read(own_table(options)), load_dataset(options.data)
    how = Short(options.epochs, options.batch, precision=options.precision, seed=options.seed)
    rng = np.random.default_rng([options.seed, 50])
    designs = [random_design(hyper, rng) for _ in range(options.spaces)]
    files = [options.out / "score" / f"{''.join(map(str, design))}.json" for design in designs]
    for design, path in share_of(options, [*zip(designs, files, strict=True)]):
        if not (path.is_file() and json.loads(path.read_text()).get("training") == asdict(how)):
            path.parent.mkdir(parents=True, exist_ok=True)
            found = reached(hyper, design, data, table, max(limits), how)
            write_json(path, found | {"score": score(design), "training": asdict(how)})
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
    from nas.jax_setup import keep_programs
    from nas.runs import Run

    keep_programs()
    how = space_fronts.Choosing(options.evaluations, seed, options.most_ms)
    table = LatencyTable.read(table_of(options, name))
    space_fronts.choose(Run.open(run), table, front_of(options, name, seed), how)


def front_of(options: argparse.Namespace, name: str, seed: int) -> Path:
    """Folder of what is chosen."""
    return Path(options.out) / "fronts" / f"{name}-{seed}"


def table_of(options: argparse.Namespace, name: str) -> Path:
    """A space's INT8 table."""
    return own_table(options) if name == DESIGNED else Path(options.tables) / f"{name}.parquet"


def chosen(options: argparse.Namespace, name: str, seed: int) -> bool:
    """Whether the networks of a space and seed are there."""
    from space_fronts import RECORD

    return (front_of(options, name, seed) / RECORD).is_file()


def alone_part(options: argparse.Namespace) -> dict[str, Any]:
    """Networks of fronts that were measured, each trained on its own."""
    from space_alone import Alone, picked, record, train_one

    from nas.jax_setup import keep_programs, spare_autotuning
    from supernets.data import load_dataset

    spare_autotuning()
    keep_programs()
    how = Alone(options.epochs, options.batch, options.precision, options.networks)
    fronts = {front["folder"]: front for front in json.loads(options.fronts.read_text())["fronts"]}
    data, out = load_dataset(options.data), options.out / "alone"
    items = [(name, index) for name, front in fronts.items() for index in picked(front, how)]
    for name, index in share_of(options, items):
        print(train_one(fronts[name], index, data, out / name, how), file=sys.stderr)
    return {"alone": [str(out / name) for name, front in fronts.items() if record(front, out / name, how)]}


def chosen_fronts(options: argparse.Namespace, kind: str) -> list[Path]:
    """Folders of all fronts that are there, of networks of supernets or trained alone."""
    from space_fronts import RECORD

    found = sorted(path.parent for path in (options.out / kind).glob(f"*/{RECORD}"))
    if not any(path.name.startswith(DESIGNED) for path in found):
        raise SystemExit(
            f"{options.out / kind} holds no front of the designed space; the part that makes it is {kind}."
        )
    return found


def measure_part(options: argparse.Namespace) -> dict[str, Any]:
    """The files of all fronts on the device, and the designed space against the others."""
    from space_fronts import compared, measured, picture

    document = measured(chosen_fronts(options, options.of), options.data, options.device, options.seconds)
    document |= {"asked": ASKED, "against": compared(document["fronts"], DESIGNED)}
    keep(document["data"] + suffix(options), document, options)
    picture(document, options.out / f"{options.of}.png")
    return document


def suffix(options: argparse.Namespace) -> str:
    """Of the names of files with results, for those of networks trained alone."""
    return "-alone" if options.of == "alone" else ""


def keep(name: str, document: dict[str, Any], options: argparse.Namespace) -> None:
    """Writes the result down, of a run in full."""
    from nas.files import write_json

    if not options.quick:
        write_json(RESULTS / f"space-design-{name}.json", document)


def checked(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, after refusing what would be found out hours later."""
    options = parser.parse_args()
    if options.part == "measure" and (options.at_once, options.share) != (1, "0/1"):
        parser.error("measure times all files in turns in one process: leave out --at-once and --share.")
    if options.at_once < 1 or options.at_once > 1 and options.share != "0/1":
        parser.error(f"--at-once (={options.at_once}) must be at least 1, and makes the shares itself.")
    if options.most_ms is not None and options.most_ms <= 0:
        parser.error(f"--most-ms (={options.most_ms}) must be above 0.")
    if options.part == "alone" and not (options.fronts and options.fronts.is_file()):
        parser.error(f"--fronts (={options.fronts}) must be a file that `measure` wrote.")
    if options.part == "fronts":
        if not options.tables:
            parser.error("--tables is missing: the folder of the hand-made spaces' INT8 tables.")
        if missing := [str(p) for p in (table_of(options, n) for n in (DESIGNED, *HAND_MADE)) if not p.is_file()]:
            parser.error(f"there is no {missing[0]}; make it with `nas profile`.")
    return options


PARTS = {"score": score_part, "fronts": fronts_part, "alone": alone_part, "measure": measure_part}


def main() -> None:
    """Runs a part and prints its JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("designed", type=Path)
    parser.add_argument("--data", required=True, help="As for `nas train`.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="INT8 table of the hyperspace; by default the one in DESIGNED.")
    parser.add_argument("--tables", type=Path, help="Folder of the other spaces' INT8 tables.")
    parser.add_argument("--device", default="local-cpu-1t-int8")
    parser.add_argument("--spaces", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=60, help="Of every training; score wants few, 3 say.")
    parser.add_argument("--int8-epochs", type=int, help="Of quantising; by default a sixth.")
    parser.add_argument("--batch", type=int, default=512, help="Images a step, of score and alone.")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="Of score and alone.")
    parser.add_argument("--fronts", type=Path, help="What measure wrote, of whose networks alone trains some.")
    parser.add_argument("--networks", type=int, default=4, help="Of a front, to train alone.")
    parser.add_argument("--of", choices=("fronts", "alone"), default="fronts", help="What to measure.")
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
    options = checked(parser)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.at_once > 1:
        at_once(options.at_once, options.out / options.part)
    document = PARTS[options.part](options)
    text = json.dumps(document, indent=1)
    (options.out / f"{options.part}{suffix(options)}.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
