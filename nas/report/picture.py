"""The front as a PNG or SVG, for a README or a paper."""

from pathlib import Path
from typing import Any

from nas.report.data import report_data


def write_picture(folder: Path, out: Path) -> Path:
    """Draws the front of the device searched last; the ending of `out` decides the format."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    document = report_data(folder)["devices"][0]
    figure, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    errors, predicted = zip(*document["evaluated"], strict=True)
    axes.scatter(
        predicted, [100 - e for e in errors], s=8, color="#8b949e", alpha=0.6, label="evaluated (predicted latency)"
    )
    _line(axes, document["baselines"], "s", "#c2540a", "uniform scalings (measured)")
    _line(axes, document["front"], "o-", "#0b62c4", "front (measured)")
    if document["limit_ms"] is not None:
        axes.axvline(document["limit_ms"], color="#b3261e", linestyle="--", label="limit")
    shown = [entry["accuracy"] for entry in [*document["front"], *document["baselines"]]]
    margin = 0.25 * (max(shown) - min(shown)) + 0.3
    axes.set_ylim(min(shown) - margin, max(shown) + margin)
    conditions = document["conditions"]
    axes.set_xlabel(f"latency on {document['device']} (ms), {conditions['cpu'].split('(')[0].strip()}")
    axes.set_ylabel("validation accuracy (%)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(out, dpi=150)
    plt.close(figure)
    return out


def _line(axes: Any, entries: list[dict[str, Any]], style: str, colour: str, label: str) -> None:
    x = [entry["latency_ms"]["median"] for entry in entries]
    axes.plot(x, [entry["accuracy"] for entry in entries], style, color=colour, label=label, drawstyle="steps-post")
