"""`nas describe`: a space, or one network of it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nas.commands.options import Json, SpaceName, SpaceOptions
from nas.console import emit_json, print_table, say


def describe(
    space: SpaceName,
    arch: Annotated[str | None, typer.Option("--arch", help="Text of one architecture.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Predict the latency on this device.")] = None,
    table: Annotated[Path | None, typer.Option("--table", help="Latency table; by default the one profiled.")] = None,
    option: SpaceOptions = None,
    json: Json = False,
) -> None:
    """Describe a space, or the exact costs and layers of one architecture.

    Example: nas describe ofa_mbv3 --arch r128_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3
    """
    from nas.errors import UserError
    from nas.spaces import open_space

    chosen = open_space(space, option or ())
    if arch is None:
        if device or table:
            raise UserError("--device and --table need an architecture; add --arch TEXT.")
        genes = {gene.name: gene.choices for gene in chosen.genes}
        smallest = chosen.to_text([0] * len(genes))
        largest = chosen.to_text([len(c) - 1 for c in genes.values()])
        document: dict[str, Any] = {
            "space": chosen.name,
            "options": chosen.options,
            "size": chosen.size,
            "genes": {name: list(choices) for name, choices in genes.items()},
            "smallest": smallest,
            "largest": largest,
        }
        if json:
            emit_json(document)
            return
        print_table(f"{chosen.name}: {chosen.size:.4g} networks", ("gene", "choices"), list(genes.items()))
        print(f"smallest {smallest}\nlargest  {largest}")
        return

    genotype = chosen.parse(arch)
    network = chosen.network(genotype)
    document = {
        "space": chosen.name,
        "arch": chosen.to_text(genotype),
        "macs": network.macs,
        "params": network.params,
        "peak_memory_bytes": network.peak_memory,
        "weight_bytes": network.weight_bytes,
        "operators": [
            {"name": op.name, "key": op.key, "out_shape": op.out_shape, "macs": op.macs, "params": op.params}
            for op in network
        ],
    }
    if device:
        from nas.tables import predict_latency

        prediction = predict_latency(chosen, network, device, table, run=Path(space))
        document["device"] = device
        document["latency_ms"] = {"median": prediction.median, "low": prediction.low, "high": prediction.high}
    elif table:
        raise UserError(f"--table {table} needs the device that it was measured on; add --device NAME.")
    if json:
        emit_json(document)
        return
    print_table(
        document["arch"],
        ("operator", "kernel", "output", "MACs", "params"),
        [
            (o["name"], o["key"], "x".join(map(str, o["out_shape"])), f"{o['macs']:,}", f"{o['params']:,}")
            for o in document["operators"]
        ],
    )
    print(
        f"{network.macs / 1e6:.1f} M MACs, {network.params:,} parameters, "
        f"{network.peak_memory / 2**20:.2f} MiB peak activations, {network.weight_bytes / 2**20:.2f} MiB weights (fp32)"
    )
    if device:
        latency = document["latency_ms"]
        say("")
        print(
            f"{latency['median']:.3f} ms predicted on {device} "
            f"(90 % between {latency['low']:.3f} and {latency['high']:.3f})"
        )
