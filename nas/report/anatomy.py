"""What a network is made of: its parts with skipped blocks, and the kernels that a runtime runs."""

from typing import Any

from search_spaces import Network, Space

_BEFORE = ("stem", "first")  # parts that come before the elastic blocks


def blocks(space: Space, network: Network, arch: str, costs: dict[str, float]) -> list[dict[str, Any]]:
    """A network part by part, skipped blocks included: genes, shape, MACs, parameters and predicted time.

    Args:
        space: Of the network.
        network: The network.
        arch: Its text.
        costs: Milliseconds by kernel; a part with a kernel that is not there has the time None.
    """
    values = space.decode(space.parse(arch))
    parts: dict[str, dict[str, Any]] = {}
    for op in network:
        part = parts.setdefault(op.part, {"name": op.part, "macs": 0, "params": 0, "ms": 0.0, "skipped": False})
        part["macs"] += op.macs
        part["params"] += op.params
        part["ms"] = None if part["ms"] is None or op.key not in costs else part["ms"] + costs[op.key]
        part["shape"] = list(op.out_shape)
    owners = dict.fromkeys(g.name.rpartition(".")[0] for g in space.genes if ".block" in g.name)
    for owner in owners:
        if owner not in parts:
            parts[owner] = {"name": owner, "skipped": True}
        for gene in ("kernel", "expand"):
            parts[owner][gene] = values.get(f"{owner}.{gene}")
    body = [name for name in parts if name in owners]
    head = [name for name in parts if name not in owners]
    before = [name for name in head if name in _BEFORE]
    return [parts[n] for n in [*before, *sorted(body), *(n for n in head if n not in before)]]


def kernels(network: Network, costs: dict[str, float]) -> list[dict[str, Any]]:
    """The fused kernels of a network, the one that takes longest first, those of unknown time last.

    Args:
        network: The network.
        costs: Milliseconds by kernel.

    Returns:
        For every distinct kernel: "key", "times" it runs, and "ms" in all, None where it was not measured.
    """
    counts: dict[str, int] = {}
    for key in network.kernels:
        counts[key] = counts.get(key, 0) + 1
    rows = [{"key": key, "times": n, "ms": n * costs[key] if key in costs else None} for key, n in counts.items()]
    return sorted(rows, key=lambda row: -(row["ms"] or 0.0))
