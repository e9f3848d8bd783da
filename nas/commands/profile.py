"""`nas profile`: the latency table of a space on a device."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.commands.options import DEFAULT_DEVICE, DeviceName, Json, Seed, SpaceOptions
from nas.console import emit_json, print_table, progress

if TYPE_CHECKING:
    from latency_tables import Device, LatencyTable, Plan
    from latency_tables.profiling import Study
    from search_spaces import Space


def profile(
    space: Annotated[
        str | None,
        typer.Argument(
            help="A search space (see `nas spaces`), a run folder, or `kernels` for networks of any space.",
            metavar="SPACE",
        ),
    ] = None,
    device: DeviceName = DEFAULT_DEVICE,
    out: Annotated[
        Path | None, typer.Option("--out", help="Parquet file; by default in the run, or in ./tables.")
    ] = None,
    resolutions: Annotated[str | None, typer.Option("--resolutions", help="Only these, e.g. 160,192,224.")] = None,
    networks: Annotated[
        int | None,
        typer.Option("--networks", help="Random networks measured whole; 128 of a space, 48 for kernels.", min=8),
    ] = None,
    refine: Annotated[
        int,
        typer.Option("--refine", help="With kernels: further networks, where predictions are least sure.", min=0),
    ] = 16,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Measure nothing: write a zip to run on the device by hand.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--import", help="What the device wrote when it ran the bundle.")
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option("--compare", help="Two tables, or devices with tables of SPACE.", metavar="A B"),
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="With --compare: picture (.png, .svg).")] = None,
    ray_address: Annotated[str | None, typer.Option("--ray-address", help="Cluster with the device's node.")] = None,
    option: SpaceOptions = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Measure everything again; or only what is missing.")
    ] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure every kernel of a space on a device. Interrupted, it continues when run again.

    `nas profile kernels` measures random networks instead, from which networks of any space are
    predicted. A device may be an address: ssh://user@host.

    Example: nas profile ofa_mbv3 --device local-cpu-1t --resolutions 224
    """
    from nas.errors import UserError

    if compare:
        from nas.commands.compare_tables import compare_tables

        compare_tables(compare, space, option or (), plot, json=json)
        return
    if plot:
        raise UserError(f"--plot {plot} goes with --compare A B.")
    if space is None:
        raise UserError("SPACE is missing: name a search space (`nas spaces`), a run folder, or `kernels`.")
    if bundle and results:
        raise UserError(f"--bundle {bundle} and --import {results} exclude each other; first the one, then the other.")
    if 0 < refine < _FEWEST:
        raise UserError(f"--refine (={refine}) must be 0 or at least {_FEWEST}.")
    from latency_tables import get_device

    target = get_device(device)
    study, path = _study(space, target, option or (), resolutions, networks, seed)
    path = out or path
    if bundle:
        _write_bundle(study.plan(), bundle, json=json)
        return
    table = measure_table(study, path, fresh=fresh, results=results, ray_address=ray_address)
    document = table_summary(table, path)
    if space == KERNELS:
        rounds = [table]
        if refine and not results:
            further = refining_study(table, target, refine, seed)
            place = path.with_name(f"{path.stem}-refined{path.suffix}")
            rounds.append(measure_table(further, place, fresh=fresh, ray_address=ray_address))
        document["predictor"] = _write_predictor(rounds, path.with_suffix(".npz"))
    if json:
        emit_json(document)
        return
    print_profile(document)
    for key, times in document.get("predictor", {}).get("far_from_roofline", {}).items():
        print(f"{key} takes {times:.3g} times what its MACs and bytes let expect")


KERNELS = "kernels"
_FEWEST = 8  # networks of a second round: their whole latencies are fitted too
_POOL, _POOL_SEED = 200, 1 << 21  # networks that a second round is chosen from; far from the seeds of others


def _study(
    space: str, device: "Device", options: Sequence[str], resolutions: str | None, networks: int | None, seed: int
) -> "tuple[Study, Path]":
    """What to measure, and the file that its table goes to by default."""
    from latency_tables.kernel_study import kernel_study
    from latency_tables.profiling import space_study
    from nas.errors import UserError
    from nas.spaces import open_space
    from nas.tables import table_path, tables_folder

    try:
        sizes = [int(r) for r in resolutions.split(",")] if resolutions else None
    except ValueError as error:
        raise UserError(f"--resolutions (={resolutions!r}) must be whole numbers joined by commas.") from error
    if space == KERNELS:
        if options or sizes:
            raise UserError("`nas profile kernels` takes neither --option nor --resolutions; leave them out.")
        return kernel_study(
            device, networks=networks or 48, seed=seed
        ), tables_folder() / f"{KERNELS}-{device.name}.parquet"
    chosen = open_space(space, options)
    try:
        held_out = (networks or 128) // 4
        fit = (networks or 128) - held_out
        study = space_study(chosen, device, resolutions=sizes, fit=fit, held_out=held_out, seed=seed)
    except ValueError as error:
        raise UserError(f"--resolutions: {error}") from error
    return study, table_path(chosen, device.name, Path(space))


def _write_bundle(plan: "Plan", path: Path, *, json: bool) -> None:
    from latency_tables.bundle import write_bundle
    from nas.files import writable_folder

    writable_folder(path.absolute().parent)
    with progress("bundle") as update:
        write_bundle(plan, path, lambda name, share: update(share * len(plan.models), len(plan.models), ""))
    document = {"bundle": str(path), "models": len(plan.models), "bytes": path.stat().st_size}
    if json:
        emit_json(document)
        return
    print(f"{path}: {len(plan.models)} models, {path.stat().st_size / 2**20:.1f} MiB")
    print(f"On the device: python3 {path.name}   (needs numpy and onnxruntime; run again to continue)")
    print(f"Then here, with the same options: --import {path.with_suffix('').name}.results.zip instead of --bundle")


def refining_study(table: "LatencyTable", device: "Device", networks: int, seed: int) -> "Study":
    """A second study of kernels: of networks that models of the first are least sure of."""
    from latency_tables.kernel_study import candidates, kernel_study
    from predictors import KernelPredictor
    from predictors.refine import least_sure

    pool = candidates(_POOL, seed + _POOL_SEED, tuple(table.metadata["resolutions"]))
    chosen = least_sure(KernelPredictor().fit([table]), pool, networks)
    return kernel_study(device, chosen=chosen, unseen=0, seed=seed, reference=table.anchors)


def _write_predictor(tables: "Sequence[LatencyTable]", path: Path) -> dict[str, Any]:
    """Fits models of kernels to tables of networks and keeps them beside the first."""
    from predictors import KernelPredictor

    predictor = KernelPredictor().fit(tables)
    predictor.write(path)
    low, high = predictor.ratio_
    return {
        "file": str(path),
        "kernels": len(predictor.kernels_),
        "mean_error": predictor.errors_,
        "unseen_networks_90": [low, high],
        "far_from_roofline": predictor.far_from_roofline(),
    }


def profile_space(space: "Space", device: "Device", path: Path, *, seed: int, fresh: bool = False) -> "LatencyTable":
    """Profiles a space with progress shown, or reads the finished table of the same device."""
    from latency_tables.profiling import space_study

    return measure_table(space_study(space, device, seed=seed), path, fresh=fresh)


def measure_table(
    study: "Study", path: Path, *, fresh: bool = False, results: Path | None = None, ray_address: str | None = None
) -> "LatencyTable":
    """Measures a study with progress shown; a finished table of the same device is kept unless `fresh`."""
    from latency_tables import DeviceError, LatencyTable, TableError
    from latency_tables.bundle import ImportedResults
    from latency_tables.profiling import run_study
    from nas.devices import executor_for
    from nas.errors import UserError
    from nas.files import writable_folder

    device = study.device
    writable_folder(path.absolute().parent)
    if path.exists() and not fresh:
        table = LatencyTable.read(path)
        try:
            table.check_device(device)
        except (DeviceError, TableError) as error:
            raise UserError(f"{str(path)!r} would be overwritten: {error} Use --fresh to replace it.") from error
        if all(key in table.kernels for network in study.traced for key in network.kernels):
            return table
    if results:
        return run_study(study, path, resume=False, executor=ImportedResults(results))
    with executor_for(device, ray_address) as executor, progress(f"profile {device.name}") as update:
        return run_study(
            study,
            path,
            resume=not fresh,
            executor=executor,
            progress=lambda p: update(p.done, p.total, p.stage),
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
