"""A differentiable search into a run folder: `nas train --method proxyless|fbnet`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.console import progress
from nas.errors import UserError
from nas.files import writable_folder, write_json
from nas.memory import release_memory
from nas.runs import Run
from nas.tables import find_table
from nas.train_run import data_record
from search_spaces import ChoiceSpace, Space

if TYPE_CHECKING:
    from supernets.data import Dataset
    from supernets.search_config import SearchConfig

FORMAT = 1


@dataclass(frozen=True)
class Where:
    """The device whose latency counts, its table if not the default one, and how many networks to sample."""

    device: str
    table: Path | None = None
    samples: int = 8


def differentiable_run(
    folder: Path,
    space: Space,
    data: "Dataset",
    source: str,
    config: "SearchConfig",
    where: Where,
    *,
    validation: int,
    size: int | None,
    skip_corrupt: bool = False,
    devices: int | None = None,
    workers: int = 0,
) -> dict[str, Any]:
    """Searches (or continues) and writes `search/differentiable.json`; the validation images are kept out.

    Returns:
        The document: "best" (most probable blocks), "sampled" networks, each with its predicted
        latency, and "expected_ms" of the distribution.
    """
    from supernets.architecture import latency_model
    from supernets.differentiable import Differentiable

    if not isinstance(space, ChoiceSpace):
        raise UserError(f"Method {config.method} chooses a block a layer, which {space.name} has not; use fbnet.")
    table = find_table(space, where.device, where.table, folder)
    latency = latency_model(space, table.costs, table.constant_ms)
    split = data.split(validation, config.weights.seed)
    run = Run.create(
        folder,
        space,
        seed=config.weights.seed,
        data=data_record(data, source, validation=validation, size=size, skip_corrupt=skip_corrupt),
        train=asdict(config),
    )
    with progress(config.method) as update:

        def show(report: Any) -> None:
            update(report.step, report.steps, f"loss {report.loss:.3f}, {search.expected_ms:.3f} ms expected")

        search = Differentiable(
            space,
            split.train_images,
            split.train_labels,
            mean=data.mean,
            std=data.std,
            config=config,
            latency=latency,
            folder=run.supernet,
            devices=devices,
            workers=workers,
        )
        found = search.run(
            show,
            lambda done, total: update(0, 1, f"compiling, {done} of {total}"),
            lambda done, total: update(1, 1, f"judging networks drawn, {done} of {total}"),
        )
    release_memory()

    def entry(arch: tuple[int, ...]) -> dict[str, Any]:
        network = space.network(arch)
        predicted = table.predict(network)
        return {
            "arch": space.to_text(arch),
            "macs": network.macs,
            "params": network.params,
            "predicted_latency_ms": {"median": predicted.median, "low": predicted.low, "high": predicted.high},
            "model_latency_ms": latency.of(arch),
        }

    rng = np.random.default_rng([config.weights.seed, 5])
    document = {
        "format": FORMAT,
        "run": str(folder),
        "method": config.method,
        "device": where.device,
        "reference_ms": config.reference_ms,
        "expected_ms": found.expected_ms,
        "best": entry(found.best),
        "sampled": [entry(arch) for arch in found.sample(rng, where.samples)],
        "logits": [alpha.tolist() for alpha in found.alphas],
    }
    writable_folder(run.folder / "search")
    write_json(run.folder / "search" / "differentiable.json", document)
    return document
