"""`nas profile --compare A B`: where two latency tables differ."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.console import emit_json, print_table

if TYPE_CHECKING:
    from latency_tables import LatencyTable

_SHOWN = 12  # kernels


def compare_tables(
    names: tuple[str, str], space: str | None, options: Sequence[str], plot: Path | None, *, json: bool
) -> None:
    """Prints how much longer kernels take in the second table, by kind and for those that matter most."""
    a, b = (_table(name, space, options) for name in names)
    document = difference(a, b) | {"a": names[0], "b": names[1]}
    if plot:
        document["plot"] = str(draw(a, b, names, plot))
    if json:
        emit_json(document)
        return
    print_table(
        f"Conditions that differ: {names[0]} and {names[1]}",
        ("condition", "A", "B"),
        [(key, *values) for key, values in document["conditions"].items()],
    )
    columns = ("kernels", "shared", "A ms", "B ms", "B / A", "ratio 10-90 %")
    print_table("Cost of all shared kernels", columns, [_row(kind) for kind in document["kinds"]])
    print_table(
        "Largest differences",
        ("kernel", "A ms", "B ms", "B / A"),
        [(k["key"], f"{k['a_ms']:.4f}", f"{k['b_ms']:.4f}", f"{k['ratio']:.2f}") for k in document["kernels"]],
    )
    print(f"{document['only_in_a']} kernels only in A, {document['only_in_b']} only in B")


def difference(a: "LatencyTable", b: "LatencyTable") -> dict[str, Any]:
    """Two tables compared by what kernels cost inside networks, as JSON.

    Raises:
        UserError: if they share no kernel.
    """
    import numpy as np

    from latency_tables.correction import kernel_kind
    from nas.errors import UserError

    keys = [key for key in a.kernels if key in b.kernels]
    if not keys:
        raise UserError("The two tables share no kernel; compare tables of the same space and resolutions.")
    costs = np.array([[table.kernels[key].cost_ms for table in (a, b)] for key in keys])
    ratio = costs[:, 1] / costs[:, 0]
    kinds = np.array([kernel_kind(key) for key in keys])

    def summary(kind: str, mine: np.ndarray) -> dict[str, Any]:
        low, high = np.quantile(ratio[mine], (0.1, 0.9))
        total = costs[mine].sum(axis=0)
        found = {"a_ms": total[0], "b_ms": total[1], "ratio": total[1] / total[0], "low": low, "high": high}
        return {"kind": kind, "kernels": int(mine.sum())} | {name: float(value) for name, value in found.items()}

    largest = np.argsort(-np.abs(costs[:, 1] - costs[:, 0]))[:_SHOWN]
    conditions = sorted({*a.metadata["conditions"], *b.metadata["conditions"]})
    pairs = {name: [t.metadata["conditions"].get(name) for t in (a, b)] for name in conditions}
    return {
        "conditions": {name: values for name, values in pairs.items() if values[0] != values[1]},
        "kinds": [summary("all", np.ones(len(keys), bool)), *(summary(k, kinds == k) for k in sorted(set(kinds)))],
        "kernels": [
            {"key": keys[i], "a_ms": float(costs[i, 0]), "b_ms": float(costs[i, 1]), "ratio": float(ratio[i])}
            for i in largest
        ],
        "only_in_a": len(a.kernels) - len(keys),
        "only_in_b": len(b.kernels) - len(keys),
    }


def draw(a: "LatencyTable", b: "LatencyTable", names: tuple[str, str], path: Path) -> Path:
    """Costs of the shared kernels against each other, one colour a kind; the ending of `path` decides the format."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from latency_tables.correction import kernel_kind
    from nas.errors import UserError

    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"--plot (={str(path)!r}) must end in .png, .svg or .pdf.")
    keys = [key for key in a.kernels if key in b.kernels]
    figure, axes = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
    for kind in sorted({kernel_kind(key) for key in keys}):
        mine = [key for key in keys if kernel_kind(key) == kind]
        axes.scatter(
            [a.kernels[key].cost_ms for key in mine],
            [b.kernels[key].cost_ms for key in mine],
            s=12,
            alpha=0.7,
            label=kind,
        )
    costs = [table.kernels[key].cost_ms for table in (a, b) for key in keys]
    axes.set(xscale="log", yscale="log", xlabel=f"{Path(names[0]).stem} (ms)", ylabel=f"{Path(names[1]).stem} (ms)")
    axes.plot([min(costs), max(costs)], [min(costs), max(costs)], color="#8b949e", linewidth=1)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


def _table(name: str, space: str | None, options: Sequence[str]) -> "LatencyTable":
    """A table by its file, or by the device that it was measured on."""
    from latency_tables import LatencyTable, get_device
    from nas.errors import UserError
    from nas.spaces import open_space
    from nas.tables import table_path

    if name.endswith(".parquet"):
        return LatencyTable.read(name)
    if space is None:
        raise UserError(f"--compare {name}: to compare devices name their space, `nas profile SPACE --compare A B`.")
    path = table_path(open_space(space, options), get_device(name).name, Path(space))
    return LatencyTable.read(path)


def _row(kind: dict[str, Any]) -> tuple[str, ...]:
    return (
        kind["kind"],
        str(kind["kernels"]),
        f"{kind['a_ms']:.3f}",
        f"{kind['b_ms']:.3f}",
        f"{kind['ratio']:.2f}",
        f"{kind['low']:.2f}-{kind['high']:.2f}",
    )
