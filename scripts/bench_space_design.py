"""Does the Q-T score rank spaces as supernets trained on them do, and are designed spaces better than hand-made ones?

    scripts/bench_space_design.py score DESIGNED --data cifar10/ --out bench/ --spaces 50 --epochs 10
    scripts/bench_space_design.py front DESIGNED --data cifar10/ --out bench/ --epochs 60

DESIGNED is a folder of `nas design-space`. Every step is a command of `nas` in a folder of its own under --out,
and what is finished is not done again, so that a killed benchmark continues.

score: Spearman between the score of random spaces of the hyperspace and the hypervolume of the front that a short real
training reaches (asked: at least 0.6). front: the designed space and hand-made ones, quantised for all, searched
and measured at INT8 (asked: 1.5x faster at equal accuracy, or 2 points more accurate at equal latency).
Not run in full yet: it wants a GPU.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

HAND_MADE = ("ofa_mbv3", "proxyless", "ofa_resnet50")


def nas(*arguments: object) -> None:
    """Runs `nas ARGS`; its progress goes to stderr."""
    subprocess.run([sys.executable, "-m", "nas", *map(str, arguments)], check=True, stdout=sys.stderr)


def trained_front(space: str, folder: Path, options: argparse.Namespace, *given: str) -> list[dict[str, Any]]:
    """The measured front at INT8 of a space: trained, quantised for all, profiled and searched."""
    plain, quantised = folder / "fp32", folder / "int8"
    front = quantised / "search" / f"front-{options.device}.json"
    if not front.is_file():
        seed = ("--seed", options.seed)
        nas("train", space, "--data", options.data, "--out", plain, "--epochs", options.epochs, *seed, *given)
        reference = json.loads((plain / "config.json").read_text())["space"]["name"]
        nas("train", reference, "--method", "qfa", "--from", plain, "--out", quantised)
        nas("profile", quantised, "--device", options.device, *seed)
        nas("search", quantised, "--device", options.device, "--evaluations", options.evaluations, *seed)
    found: list[dict[str, Any]] = json.loads(front.read_text())["front"]
    return found


def points(front: list[dict[str, Any]]) -> np.ndarray:
    """Error (percent) and measured latency (ms) of a front's networks, `[n, 2]`."""
    return np.array([(100 - entry["accuracy"], entry["latency_ms"]["median"]) for entry in front], dtype=np.float64)


def score_part(options: argparse.Namespace) -> dict[str, Any]:
    """Random spaces: Q-T score against the hypervolume of a real supernet's front, to the largest limit."""
    from scipy.stats import spearmanr

    from nas.design.evolution import random_design
    from nas.design.run import opened
    from nas.files import write_json
    from nas.pareto import hypervolume

    hyper, score, limits = opened(options.designed, options.table)
    rng = np.random.default_rng([options.seed, 50])
    rows = []
    for _ in range(options.spaces):
        design = random_design(hyper, rng)
        space = hyper.space(design)
        folder = options.out / "score" / "".join(map(str, design))
        write_json(folder / "space.json", {"name": space.name, "options": space.options})
        found = points(trained_front(str(folder), folder, options))
        volume = hypervolume(found, np.array([100.0, max(limits)]))
        rows.append({"design": list(design), "score": score(design), "hypervolume": float(volume)})
        print(json.dumps(rows[-1]), file=sys.stderr)
    correlation = spearmanr([r["score"] for r in rows], [r["hypervolume"] for r in rows]).statistic
    return {"spaces": rows, "spearman": float(correlation), "asked": 0.6, "epochs": options.epochs}


def front_part(options: argparse.Namespace) -> dict[str, Any]:
    """The designed space against hand-made ones: for each network of theirs, the best of ours that is as good."""
    fronts = {"designed": points(trained_front(str(options.designed), options.out / "front" / "designed", options))}
    for name in HAND_MADE:
        fronts[name] = points(trained_front(name, options.out / "front" / name, options))
    ours, against = fronts["designed"], {}
    for name in HAND_MADE:
        faster = [ms / ours[ours[:, 0] <= error, 1].min() for error, ms in fronts[name] if (ours[:, 0] <= error).any()]
        better = [error - ours[ours[:, 1] <= ms, 0].min() for error, ms in fronts[name] if (ours[:, 1] <= ms).any()]
        against[name] = {"times_faster": max(faster, default=None), "points_better": max(better, default=None)}
    return {"fronts": {k: v.tolist() for k, v in fronts.items()}, "against": against, "asked": [1.5, 2.0]}


def main() -> None:
    """Runs a part and prints its JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("score", "front"))
    parser.add_argument("designed", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="INT8 table of the hyperspace; by default the one in DESIGNED.")
    parser.add_argument("--device", default="local-cpu-1t-int8")
    parser.add_argument("--spaces", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    document = {"score": score_part, "front": front_part}[options.part](options)
    text = json.dumps(document, indent=1)
    (options.out / f"{options.part}.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
