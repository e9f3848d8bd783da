"""What the parts share: data, space, how to train."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from search_spaces import Gene, MBConvSpace, Network, Space, get_space

SHARED = Path(__file__).resolve().parents[3] / "shared"


def cifar(options: argparse.Namespace) -> Any:
    """CIFAR-10-JPEG, or a little of it for a toy run."""
    from supernets.data import load_dataset

    data = load_dataset(SHARED / "data" / "cifar10_jpeg")
    if options.quick:
        data = replace(data, train_images=data.train_images[:600], train_labels=data.train_labels[:600])
        data = replace(data, test_images=data.test_images[:500], test_labels=data.test_labels[:500])
    return data


def settings(options: argparse.Namespace, **more: Any) -> Any:
    """How everything here is trained."""
    from supernets import TrainConfig

    if options.quick:
        base = TrainConfig(epochs=1, warm_epochs=0, batch_size=64, random_subnets=1)
    else:
        base = TrainConfig(
            epochs=options.epochs,
            warm_epochs=options.epochs // 6,
            batch_size=1024,  # below, the host sets the pace (supernets/README.md)
            peak_lr=0.4,  # 0.1 for 256 images, BigNAS's rate for summed gradients too
            shift=4,
            weight_decay=5e-4,
            precision=options.precision,
        )
    return replace(base, **{"checkpoint_seconds": 120.0} | more)  # lost at most where a machine is taken away


def share_of(options: argparse.Namespace, items: Sequence[Any]) -> Sequence[Any]:
    """What one process does of them, by `--share`."""
    share, shares = (int(k) for k in options.share.split("/"))
    return items[share::shares]


def at_once(n: int, logs: Path, *, together: bool) -> None:
    """This script's command line by several processes, a share each, the GPUs in turn.

    Args:
        n: How many.
        logs: What the i-th prints goes to LOGS-i.log.
        together: Whether some wait for others: then all are stopped when one fails.

    Raises:
        SystemExit: if one fails, with its log's name.
    """
    from nas.processes import end_with_parent, first_failed, shared_gpu

    paths, children = [logs.with_name(f"{logs.name}-{i}.log") for i in range(n)], []
    for i, path in enumerate(paths):
        command = [sys.executable, *sys.argv, "--at-once", "1", "--share", f"{i}/{n}"]
        with path.open("ab") as log:
            child = subprocess.Popen(
                command,
                env=os.environ | shared_gpu(i),
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - no threads are here yet
            )
        children.append(child)
    failed = first_failed(children, stop=together)
    if failed is not None:
        raise SystemExit(f"failed, see {paths[failed]}; what is finished stays, run it again.")


def rebatched(config: Any, batch: int) -> Any:
    """The same with batches of another size and the rate in proportion; 0 for the size that it has."""
    return replace(config, batch_size=batch, peak_lr=config.peak_lr * batch / config.batch_size) if batch else config


def ofa_space(options: argparse.Namespace, data: Any) -> Space:
    """Once-for-All's space at the size of the data; two narrow stages of it for a toy run."""
    if not options.quick:
        return get_space("ofa_mbv3", num_classes=10, resolutions=data.image_size, stem_stride=1)
    full = get_space("ofa_mbv3", num_classes=10, resolutions=data.image_size, stem_stride=2, width=0.1)
    assert isinstance(full, MBConvSpace)
    stages = tuple(replace(stage, depths=(1, 2), kernels=(3, 5)) for stage in full.spec.stages[:2])
    return MBConvSpace("toy", replace(full.spec, stages=stages), {})


def step_space(options: argparse.Namespace) -> tuple[MBConvSpace, int, Any]:
    """Once-for-All's space as a step is timed on it, the images of a step, and their type."""
    import jax.numpy as jnp

    size, batch, dtype = (16, 8, jnp.float32) if options.quick else (32, 1024, jnp.bfloat16)
    width, stride = (0.1, 2) if options.quick else (1.0, 1)
    space = get_space("ofa_mbv3", width=width, num_classes=10, resolutions=size, stem_stride=stride)
    assert isinstance(space, MBConvSpace)
    return space, batch, dtype


class One(Space):
    """A space of one network, so that it can be trained like any other."""

    def __init__(self, network: Network) -> None:
        self.name, self.options, self._network = "one", {"network": network.text}, network
        self.genes = (Gene("only", (0,)),)

    def network(self, arch: Any) -> Network:
        """The network."""
        del arch
        return self._network
