"""Supernets of the spaces that are compared, trained and quantised for all by `nas train`."""

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from nas.processes import end_with_parent

DESIGNED, HAND_MADE = "designed", ("ofa_mbv3", "ofa_proxyless", "ofa_resnet50")


def is_designed(folder: str) -> bool:
    """Whether a front's folder, SPACE-SEED, is of the designed space."""
    return folder.rpartition("-")[0] == DESIGNED


def quantised_supernet(options: argparse.Namespace, name: str, seed: int) -> Path:
    """Trains a supernet of a space, then quantised for all; the folder of its run."""
    plain, quantised = (options.out / f"{name}-{seed}" / kind for kind in ("fp32", "int8"))
    space = str(options.designed) if name == DESIGNED else name
    extra = [*shlex.split(options.extra), "--epochs", options.epochs, "--seed", seed]
    if name != DESIGNED:
        stems = dict(zip(HAND_MADE, options.stems.split(","), strict=True))
        extra += ["-o", f"stem_stride={stems[name]}"]
    if options.after_first and seed:
        begun(options.out / f"{name}-0" / "fp32")
    nas("train", space, "--data", options.data, "--out", plain, *extra)
    if options.after_first and seed:
        begun(options.out / f"{name}-0" / "int8")
    reference = json.loads((plain / "config.json").read_text())["space"]["name"]
    fine = ["--epochs", options.int8_epochs] if options.int8_epochs else []
    nas("train", reference, "--method", "qfa", "--from", plain, "--out", quantised, *fine)
    return Path(quantised)


def begun(run: Path) -> None:
    """Waits until a training has begun, whose programs are kept and need not be compiled again."""
    while not [*run.glob("supernet/events*")]:
        time.sleep(1)


def nas(*arguments: object) -> None:
    """Runs `nas ARGS`; its progress goes to stderr."""
    command = [sys.executable, "-m", "nas", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=sys.stderr, preexec_fn=end_with_parent)  # noqa: PLW1509 - no threads
