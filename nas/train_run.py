"""Training a supernet into a run folder."""

from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.console import progress, say
from nas.errors import RunError, UserError
from nas.memory import release_memory
from nas.runs import Run
from search_spaces import Space, designed_file, get_space, space_parameters

if TYPE_CHECKING:
    from supernets import TrainConfig
    from supernets.data import Dataset

FULL_STRIDE_FROM = 64  # px; smaller pictures keep their size through the stem


def space_for(name: str, data: "Dataset", options: dict[str, object]) -> Space:
    """The member of a family that suits a data set: its classes, channels and size, unless options say otherwise."""
    defaults: dict[str, object] = {"num_classes": data.num_classes, "in_channels": data.channels}
    if designed_file(name):
        return get_space(name, **(defaults | options))
    known = space_parameters(name)
    size_option = "resolutions" if "resolutions" in known else "image_size"
    if size_option not in options:
        size = data.image_size
        if size < 8:
            raise UserError(f"Images of {size} px are too small; pass --size to enlarge them to at least 8 px.")
        defaults[size_option] = size
        if size < FULL_STRIDE_FROM:
            defaults["stem_stride"] = 1
    if data.channels != 3 and "in_channels" not in known:
        raise UserError(f"{name} takes colour images, these have {data.channels} channel(s); use another space.")
    return get_space(name, **{key: value for key, value in defaults.items() if key in known} | options)


def check_supernet(space: Space) -> None:
    """Refuses a space whose networks are not chains of blocks, so that no supernet can hold them."""
    if space.name == "nasbench201":
        raise UserError("nasbench201 has no supernet: its cells are no chains of blocks; use another space.")


def data_record(
    data: "Dataset", source: str, *, validation: int, size: int | None, skip_corrupt: bool
) -> dict[str, Any]:
    """What a run's configuration says of its data: everything needed to open the same data again."""
    record = {
        "source": source,
        "name": data.name,
        "fingerprint": data.fingerprint,
        "size": size,
        "validation": validation,
        "class_names": list(data.class_names),
        "mean": data.mean.tolist(),
        "std": data.std.tolist(),
    }
    return record | ({"skip_corrupt": True} if skip_corrupt else {}) | ({"stream": True} if data.streamed else {})


def _silent(done: int, total: int, text: str) -> None:
    """Progress of a host that only helps."""


def recorded_data(run: Run) -> "Dataset":
    """The data that a run was trained on.

    Raises:
        RunError: if it has changed since.
    """
    from supernets.data import load_dataset

    config = run.config["data"]
    how = {"skip_corrupt": config.get("skip_corrupt", False), "stream": config.get("stream", False)}
    data = load_dataset(config["source"], size=config["size"], seed=run.config["seed"], **how)
    if data.fingerprint != config["fingerprint"]:
        raise RunError(
            f"The data in {config['source']!r} has changed since {str(run.folder)!r} was trained; "
            "restore it, or train again into another folder."
        )
    return data


def recorded_training(run: Run) -> "TrainConfig":
    """How the weights of a run were trained; what is newer than the run had its default."""
    from supernets import TrainConfig

    recorded = run.config["train"]
    recorded = recorded.get("weights", recorded)  # of a differentiable search
    return TrainConfig(**{f.name: recorded[f.name] for f in fields(TrainConfig) if f.name in recorded})


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
    devices: int | None = None,
    workers: int = 0,
    host: int = 0,
) -> dict[str, Any]:
    """Trains (or continues) the supernet of a run; the validation images are kept out.

    Over several hosts, only the first (0) writes the configuration and shows its progress.

    Returns:
        What was done: run, space, epochs, final loss and training accuracy of the largest network.
    """
    from supernets import train

    check_supernet(space)
    split = data.split(validation, config.seed)
    made = {
        "seed": config.seed,
        "data": data_record(data, source, validation=validation, size=size, skip_corrupt=skip_corrupt),
        "train": asdict(config),
    }
    named = {"name": space.name, "options": space.options}
    run = Run.create(folder, space, **made) if host == 0 else Run(folder, {"space": named, **made})
    last: list[Any] = []
    with progress("train") if host == 0 else nullcontext(_silent) as update:

        def show(report: Any) -> None:
            last[:] = [report]
            if report.note:
                say(report.note)
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
            devices=devices,
            workers=workers,
        )
    release_memory()
    document: dict[str, Any] = {"run": str(folder), "space": run.config["space"], "epochs": config.epochs}
    if last:
        document |= {"loss": last[0].loss, "train_accuracy": last[0].accuracy}
    return document
