"""Training a supernet into a run folder."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.console import progress
from nas.errors import UserError
from nas.memory import release_memory
from nas.runs import Run
from search_spaces import MBConvSpace, Space, get_space

if TYPE_CHECKING:
    from supernets import TrainConfig
    from supernets.data import Dataset

FULL_STRIDE_FROM = 64  # px; smaller pictures keep their size through the stem


def space_for(name: str, data: "Dataset", options: dict[str, object]) -> Space:
    """The member of a family that suits a data set: its classes, channels and size, unless options say otherwise."""
    defaults: dict[str, object] = {"num_classes": data.num_classes, "in_channels": data.channels}
    if "resolutions" not in options:
        size = data.image_size
        if size < 8:
            raise UserError(f"Images of {size} px are too small; pass --size to enlarge them to at least 8 px.")
        defaults["resolutions"] = size
        if size < FULL_STRIDE_FROM:
            defaults["stem_stride"] = 1
    return get_space(name, **defaults | options)


def train_run(
    folder: Path,
    space: Space,
    data: "Dataset",
    source: str,
    config: "TrainConfig",
    *,
    validation: int,
    size: int | None,
    skip_corrupt: bool = False,
) -> dict[str, Any]:
    """Trains (or continues) the supernet of a run; the validation images are kept out.

    Returns:
        What was done: run, space, epochs, final loss and training accuracy of the largest network.
    """
    from supernets import train

    if not isinstance(space, MBConvSpace):
        raise UserError(f"{space.name} has no elastic supernet; use a space of MBConv blocks.")
    split = data.split(validation, config.seed)
    run = Run.create(
        folder,
        space,
        seed=config.seed,
        data={
            "source": source,
            "name": data.name,
            "fingerprint": data.fingerprint,
            "size": size,
            "validation": validation,
            "class_names": list(data.class_names),
            "mean": data.mean.tolist(),
            "std": data.std.tolist(),
        }
        | ({"skip_corrupt": True} if skip_corrupt else {}),
        train=asdict(config),
    )
    last: list[Any] = []
    with progress("train") as update:

        def show(report: Any) -> None:
            last[:] = [report]
            update(report.step, report.steps, f"loss {report.loss:.3f}, accuracy {report.accuracy:.1f} %")

        def wait(done: int, total: int) -> None:
            update(0, 1, f"compiling, {done} of {total}")

        train(
            space,
            split.train_images,
            split.train_labels,
            mean=data.mean,
            std=data.std,
            config=config,
            folder=run.supernet,
            on_step=show,
            on_compiled=wait,
        )
    release_memory()
    document: dict[str, Any] = {"run": str(folder), "space": run.config["space"], "epochs": config.epochs}
    if last:
        document |= {"loss": last[0].loss, "train_accuracy": last[0].accuracy}
    return document
