"""The picture of a comparison: one self-contained HTML page."""

from pathlib import Path
from typing import Any

import numpy as np

from nas.files import writable_folder, write_bytes, write_json


def write_comparison(document: dict[str, Any], folder: Path) -> None:
    """Writes `compare.json` and `compare.html` into a folder."""
    import plotly.graph_objects as go
    from plotly.colors import qualitative

    writable_folder(folder)
    figure = go.Figure()
    for row, colour in zip(document["rows"], qualitative.Plotly * 2, strict=False):
        mean, error = np.array(row["mean"]), np.array(row["standard_error"])
        x = np.arange(1, len(mean) + 1)
        name = row["searcher"]
        if np.isfinite(error).all():
            band = {"x": np.concatenate([x, x[::-1]]), "y": np.concatenate([mean + error, (mean - error)[::-1]])}
            figure.add_scatter(
                **band,
                fill="toself",
                fillcolor=colour,
                opacity=0.2,
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=name,
            )
        figure.add_scatter(x=x, y=mean, name=name, line={"color": colour}, legendgroup=name)
    known = "known" if document["cost_known"] else "learned"
    figure.update_layout(
        title=f"{document['space']}: error against {document['cost']} ({known}), {document['seeds']} seeds, mean and "
        "standard error",
        xaxis_title="evaluations",
        yaxis_title="hypervolume / hypervolume of the exact front",
        yaxis_range=[0.8, 1.005],
        template="plotly_white",
    )
    write_json(folder / "compare.json", document)
    write_bytes(folder / "compare.html", figure.to_html(include_plotlyjs=True, full_html=True).encode())
