"""`nas profile`: the latency table of a space on a device."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.commands.options import DEFAULT_DEVICE, DeviceName, Json, Seed, SpaceName, SpaceOptions
from nas.console import emit_json, print_table, progress

if TYPE_CHECKING:
    from latency_tables import LatencyTable
    from search_spaces import Space


def profile(
    space: SpaceName,
    device: DeviceName = DEFAULT_DEVICE,
    out: Annotated[
        Path | None, typer.Option("--out", help="Parquet file; by default in the run, or in ./tables.")
    ] = None,
    resolutions: Annotated[str | None, typer.Option("--resolutions", help="Only these, e.g. 160,192,224.")] = None,
    option: SpaceOptions = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure everything again.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure every kernel of a space on a device. Interrupted, it continues when run again.

    Example: nas profile ofa_mbv3 --device local-cpu-1t --resolutions 224
    """
    from nas.errors import UserError
    from nas.spaces import open_space
    from nas.tables import table_path

    chosen = open_space(space, option or ())
    try:
        sizes = [int(r) for r in resolutions.split(",")] if resolutions else None
    except ValueError as error:
        raise UserError(f"--resolutions (={resolutions!r}) must be whole numbers joined by commas.") from error
    from latency_tables import get_device

    target = get_device(device)
    path = out or table_path(chosen, target.name, Path(space))
    table = measure_table(chosen, target, path, resolutions=sizes, fresh=fresh, seed=seed)
    document = table_summary(table, path)
    if json:
        emit_json(document)
        return
    print_profile(document)


def measure_table(space: "Space", device: Any, path: Path, **options: Any) -> "LatencyTable":
    """Profiles with progress shown; a finished table of the same device is kept unless `fresh`."""
    from latency_tables import DeviceError, LatencyTable, TableError
    from latency_tables import profile as measure_kernels
    from nas.errors import UserError
    from nas.files import writable_folder

    fresh = options.pop("fresh", False)
    writable_folder(path.parent)
    if path.exists() and not fresh:
        table = LatencyTable.read(path)
        try:
            table.check_device(device)
        except (DeviceError, TableError) as error:
            raise UserError(f"{str(path)!r} would be overwritten: {error} Use --fresh to replace it.") from error
        if _covers(table, space, options.get("resolutions")):
            return table
    with progress(f"profile {device.name}") as update:
        return measure_kernels(
            space,
            device,
            path,
            resume=not fresh,
            progress=lambda p: update(p.done, p.total, p.stage),
            **options,
        )


def _covers(table: "LatencyTable", space: "Space", resolutions: list[int] | None) -> bool:
    from search_spaces import covering

    networks = (space.network(arch) for arch in covering(space))
    return all(
        key in table.kernels
        for network in networks
        if resolutions is None or network.size in resolutions
        for key in network.kernels
    )


def table_summary(table: "LatencyTable", path: Path) -> dict[str, Any]:
    """What a table holds and how good it is, as JSON."""
    return {
        "table": str(path),
        "kernels": len(table.kernels),
        "conditions": table.metadata["conditions"],
        "held_out": table.metadata["held_out"],
    }


def print_profile(document: dict[str, Any]) -> None:
    """The same for a person."""
    conditions, error = document["conditions"], document["held_out"]
    print_table(
        f"{document['kernels']} kernels on {conditions['device']}: {conditions['cpu']}, "
        f"{conditions['threads']} threads, ONNX Runtime {conditions['onnxruntime']}",
        ("held-out networks", "within 5 %", "within 10 %", "Spearman"),
        [(error["networks"], f"{error['within_5']:.0%}", f"{error['within_10']:.0%}", f"{error['spearman']:.3f}")],
    )
    print(document["table"])
