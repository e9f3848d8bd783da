"""The command line of bench_space_design.py, refusing at once what would be found out hours later."""

import argparse
import json
from pathlib import Path

from space_supernets import DESIGNED, HAND_MADE, is_designed

BESIDE = "beside"  # what is measured, where it is no files but networks of an earlier result
JUDGED_ON = 2048  # training images kept out, that spaces are judged on; batches of score must not be larger


def parsed(about: str | None) -> argparse.Namespace:
    """The part and its options."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    every, data, shared = (argparse.ArgumentParser(add_help=False) for _ in range(3))
    every.add_argument("designed", type=Path)
    data.add_argument("--data", required=True, help="As for `nas train`.")
    every.add_argument("--out", type=Path, required=True)
    every.add_argument("--table", type=Path, help="INT8 table of the hyperspace; by default the one in DESIGNED.")
    every.add_argument("--quick", action="store_true", help="Keeps no result in benchmarks/.")
    shared.add_argument("--share", default="0/1", help="Which part of the work to do, I/N.")
    shared.add_argument("--at-once", type=int, default=1, help="Processes that the work is divided among.")

    score = parts.add_parser("score", parents=[every, data, shared])
    score.add_argument("--spaces", type=int, default=50)
    score.add_argument("--epochs", type=int, default=3)
    score.add_argument("--batch", type=int, default=512, help="Images a step.")
    score.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    score.add_argument("--seed", type=int, default=0)

    fronts = parts.add_parser("fronts", parents=[every, data, shared])
    fronts.add_argument("--tables", type=Path, required=True, help="Folder of the hand-made spaces' INT8 tables.")
    fronts.add_argument("--epochs", type=int, default=60, help="Of every supernet.")
    fronts.add_argument("--int8-epochs", type=int, help="Of quantising; by default a sixth.")
    fronts.add_argument("--with", dest="extra", default="", help="More options for nas train, as one word.")
    fronts.add_argument("--stems", default="1,1,2", help=f"Strides of the first convolution: {', '.join(HAND_MADE)}.")
    fronts.add_argument("--evaluations", type=int, default=96, help="Of the search in each supernet.")
    fronts.add_argument("--most-ms", type=float, help="Largest latency of a chosen network.")
    fronts.add_argument("--seeds", type=int, default=3)
    fronts.add_argument("--after-first", action="store_true", help="Seeds wait until the first one's training began.")

    picks = parts.add_parser("picks", parents=[every])
    picks.add_argument("--fronts", type=Path, required=True, help="What measure wrote, for the hand-made spaces.")
    limits = picks.add_mutually_exclusive_group()
    limits.add_argument("--networks", type=int, help="Limits evenly between the design's ends; by default its own.")
    limits.add_argument("--limits", type=float, nargs="+", help="Of latency by the table, ms.")
    picks.set_defaults(at_once=1)

    alone = parts.add_parser("alone", parents=[every, data, shared])
    alone.add_argument("--fronts", type=Path, required=True, help="What measure or picks wrote, to train networks of.")
    alone.add_argument("--epochs", type=int, default=50, help="Of every network.")
    alone.add_argument("--batch", type=int, default=1024, help="Images a step.")
    alone.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    alone.add_argument("--networks", type=int, default=4, help="Of a front.")

    measure = parts.add_parser("measure", parents=[every, data])
    measure.add_argument("--of", choices=("fronts", "alone", BESIDE), default="fronts")
    measure.add_argument("--beside", type=Path, help="A result of another device, for fronts whose files are gone.")
    measure.add_argument(
        "--float", nargs="+", default=[], help="How names of operators begin that stay in float where that is faster."
    )
    measure.add_argument("--device", default="local-cpu-1t-int8")
    measure.add_argument("--seconds", type=float, default=120.0)
    measure.set_defaults(at_once=1)

    options = parser.parse_args()
    if mistake := _mistake(options):
        parser.error(mistake)
    return options


def _mistake(options: argparse.Namespace) -> str | None:
    """What is wrong with the options."""
    if options.part not in ("measure", "picks") and (
        options.at_once < 1 or options.at_once > 1 and options.share != "0/1"
    ):
        return f"--at-once (={options.at_once}) must be at least 1, and makes the shares itself."
    if options.part == "fronts":
        if options.most_ms is not None and options.most_ms <= 0:
            return f"--most-ms (={options.most_ms}) must be above 0."
        missing = [str(p) for p in (table_of(options, n) for n in (DESIGNED, *HAND_MADE)) if not p.is_file()]
        return f"there is no {missing[0]}; make it with `nas profile`." if missing else None
    if options.part == "score" and not 2 <= options.batch <= JUDGED_ON:
        return f"--batch (={options.batch}) must be 2 to {JUDGED_ON}, the number of images that spaces are judged on."
    if options.part == "measure" and options.of == BESIDE and options.beside is None:
        return f"--of {BESIDE} needs --beside RESULT, whose networks are timed again."
    for name in ("fronts", "beside"):
        path = getattr(options, name, None)
        if isinstance(path, Path) and not _complete(path, options.part):
            return f"--{name} (={path}) must be a file that `measure` wrote, with the options of its spaces."
    return None


def _complete(path: Path, part: str) -> bool:
    """Whether a file has what a part needs of fronts: their spaces' options; to measure beside them all of it."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        fronts = document["fronts"]
        if part == "measure":
            measured = all("test" in row for front in fronts for row in front["networks"])
            if not (measured and document["data"] and document["conditions"]["precision"]):
                return False
        complete = all(isinstance(f["space"], dict) and f["networks"] and f["folder"] for f in fronts)
        # picks makes the designed space's anew
        return complete and not (part == "picks" and all(is_designed(f["folder"]) for f in fronts))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def own_table(options: argparse.Namespace) -> Path:
    """The INT8 table of the hyperspace."""
    if options.table:
        return Path(options.table)
    device = json.loads((options.designed / "design.json").read_text())["device"]
    return Path(options.designed) / "tables" / f"{device}.parquet"


def table_of(options: argparse.Namespace, name: str) -> Path:
    """A space's INT8 table."""
    return own_table(options) if name == DESIGNED else Path(options.tables) / f"{name}.parquet"
