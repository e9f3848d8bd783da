"""`nas measure`: one network of a space, timed whole on a device."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nas.commands.options import DEFAULT_DEVICE, DeviceName, Json, Seed, SpaceName, SpaceOptions
from nas.console import emit_json


def measure(
    space: SpaceName,
    arch: Annotated[str, typer.Option("--arch", help="Text of the architecture.")],
    device: DeviceName = DEFAULT_DEVICE,
    table: Annotated[Path | None, typer.Option("--table", help="Latency table; by default the one profiled.")] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Stop at this half width of the 95 % interval, percent.", min=0.05)
    ] = 0.5,
    seconds: Annotated[float, typer.Option("--seconds", help="Stop after about this time.", min=0.1)] = 60.0,
    end_to_end: Annotated[
        int | None,
        typer.Option("--end-to-end", help="Also decode, resize and normalise a JPEG of this size (px).", min=8),
    ] = None,
    energy: Annotated[
        bool, typer.Option("--energy", help="Also the energy of a call, by the CPU's counters (Linux, RAPL).")
    ] = False,
    option: SpaceOptions = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure a network whole, with a confidence interval.

    Where the device has a latency table, its reference networks run in the same rounds, and the
    result is given at the speed that the machine had then as well: `at_table_speed_ms` compares
    with predictions and with measurements of other days.

    Example: nas measure ofa_mbv3 --arch r128_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3
    """
    from latency_tables import Effort, get_device
    from latency_tables.energy import energy_zones, measure_energy
    from nas.console import progress
    from nas.errors import UserError
    from nas.front import measure_networks
    from nas.spaces import open_space
    from nas.tables import find_table

    chosen, target = open_space(space, option or ()), get_device(device)
    zones = energy_zones() if energy else ()
    genotype = chosen.parse(arch)
    network = chosen.network(genotype)
    try:
        known = find_table(chosen, target, table, run=Path(space))
    except UserError:
        if table:
            raise
        known = None
    options: dict[str, Any] = {"anchors": known.anchors} if known else {}
    effort = Effort(tolerance=tolerance / 100, rounds=(10, 200), seconds=seconds)
    with progress(f"measure on {target.name}") as update:
        (found,) = measure_networks([network], target, update, effort=effort, seed=seed, **options)
    now = found.scaled(1 / found.speed)
    document: dict[str, Any] = {
        "space": chosen.name,
        "arch": chosen.to_text(genotype),
        "device": target.name,
        "latency_ms": _interval(now),
        "runs": now.runs,
    }
    if known:
        predicted = known.predict(network)
        document["at_table_speed_ms"] = _interval(found)
        document["predicted_ms"] = {"median": predicted.median, "low": predicted.low, "high": predicted.high}
    if energy:
        document["energy_mj"] = measure_energy(network, target, zones).millijoules
    if end_to_end:
        from latency_tables.preprocess import measure_preprocess

        document["preprocess_ms"] = measure_preprocess(end_to_end, network.size, network.in_channels, target.batch)
        document["end_to_end_ms"] = now.median_ms + document["preprocess_ms"]["median"]
    if json:
        emit_json(document)
        return
    _print(document)


def _interval(latency: Any) -> dict[str, float]:
    """Median with the ends of its 95 % confidence interval, and the quantiles of single calls."""
    return {
        "median": latency.median_ms,
        "low": latency.median_ms - latency.error_ms,
        "high": latency.median_ms + latency.error_ms,
        "p10": latency.p10_ms,
        "p90": latency.p90_ms,
    }


def _print(document: dict[str, Any]) -> None:
    """The same for a person."""
    for key, what in (("latency_ms", "measured"), ("at_table_speed_ms", "at the table's speed")):
        if key in document:
            ms = document[key]
            print(f"{ms['median']:.3f} ms {what} (95 % between {ms['low']:.3f} and {ms['high']:.3f})")
    if "predicted_ms" in document:
        ms = document["predicted_ms"]
        print(f"{ms['median']:.3f} ms predicted (90 % between {ms['low']:.3f} and {ms['high']:.3f})")
    if "end_to_end_ms" in document:
        print(
            f"{document['end_to_end_ms']:.3f} ms end to end, {document['preprocess_ms']['median']:.3f} ms of it "
            "to decode, resize and normalise"
        )
    if "energy_mj" in document:
        print(f"{document['energy_mj']:.3g} mJ a call, of all that the processor package used meanwhile")
    print(f"on {document['device']}, {document['runs']} calls")
