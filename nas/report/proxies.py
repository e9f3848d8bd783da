"""A page about zero-cost scores: what each proxy is, how they agree, and the scores themselves."""

import html
import json
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import UserError
from nas.files import write_bytes

_CELL = 34  # px of the heat map
_PLOT = 150  # px of a scatter plot
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em; color: #1f2328 }
table { border-collapse: collapse; width: 100%; margin: 1em 0 }
th, td { padding: .25em .6em; border-bottom: 1px solid #d0d7de; text-align: right }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere }
td.text { text-align: left } svg { max-width: 100%; height: auto } p { color: #57606a }
.plots { display: flex; flex-wrap: wrap; gap: 1em } .plots svg { background: #f6f8fa }
@media (prefers-color-scheme: dark) {
  body { background: #0d1117; color: #e6edf3 } p { color: #9198a1 } th, td { border-color: #3d444d }
  svg text { fill: #e6edf3 } svg .cell { fill: #1f2328 } .plots svg { background: #151b23 }
}
"""


def read_scores(path: Path) -> dict[str, Any]:
    """What `nas score --json` printed.

    Raises:
        UserError: if the file is something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        document["proxies"], document["scores"][0]["arch"]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"{str(path)!r} holds no scores; write them with `nas score SPACE --json > {path}`.") from error
    return document


def write_proxy_report(scores: Path, out: Path | None = None) -> Path:
    """Writes the page; by default beside the scores with the ending .html."""
    document = read_scores(scores)
    names = list(document["proxies"])
    values = np.array([[row[name] for name in names] for row in document["scores"]], dtype=np.float64)
    out = out or scores.with_suffix(".html")
    title = f"{len(values)} architectures of {document['space']} on {document['data']}"
    against = ""
    if "accuracy" in document["scores"][0]:
        accuracy = np.array([row["accuracy"] for row in document["scores"]], dtype=np.float64)
        plots = [scatter(name, column, accuracy) for name, column in zip(names, values.T, strict=True)]
        against = (
            "<h2>Against accuracy</h2><p>Every architecture by its rank among the scores, left to right, and its "
            f"accuracy out of the supernet ({accuracy.min():.1f} to {accuracy.max():.1f} %), with Spearman's rank "
            f"correlation.</p><div class=plots>{''.join(plots)}</div>"
        )
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>{_STYLE}</style><h1>Zero-cost scores</h1>
<p>{html.escape(title)}; batch {document["batch_size"]}, seed {document["seed"]}. Nothing was trained.</p>
<h2>Proxies</h2>{_proxies(document)}{against}
<h2>How they agree</h2><p>Spearman's rank correlation of every two.</p>{heat_map(names, rank_correlations(values))}
<h2>Scores</h2>{_scores(document, names)}</html>
"""
    write_bytes(out, page.encode())
    return out


def rank_correlations(values: np.ndarray) -> np.ndarray:
    """Spearman's correlations of the columns of `[n, m]`; nan where a column is constant."""
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (
            np.atleast_2d(np.corrcoef(ranks, rowvar=False))
            if len(values) > 1
            else np.full((values.shape[1],) * 2, np.nan)
        )


def heat_map(names: list[str], matrix: np.ndarray) -> str:
    """The correlations as an SVG: blue agrees, red disagrees."""
    left, side = 90, _CELL * len(names)
    cells = []
    for i, row in enumerate(matrix):
        for j, value in enumerate(row):
            x, y = left + j * _CELL, i * _CELL
            known = bool(np.isfinite(value))
            colour = f"hsl({215 if value >= 0 else 5} 70% {96 - 46 * abs(value):.0f}%)" if known else "#eee"
            text = f"{value:.2f}" if known else "-"
            cells.append(
                f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" fill="{colour}"><title>{names[i]}, '
                f"{names[j]}: {text}</title></rect>"
                f'<text class="cell" x="{x + _CELL / 2}" y="{y + 21}" text-anchor="middle">{text}</text>'
            )
        cells.append(f'<text x="{left - 6}" y="{i * _CELL + 21}" text-anchor="end">{names[i]}</text>')
    below = [
        f'<text transform="translate({left + j * _CELL + 20} {side + 8}) rotate(-45)" text-anchor="end">{name}</text>'
        for j, name in enumerate(names)
    ]
    size = f'viewBox="0 0 {left + side} {side + 70}" width="{left + side}"'
    return f'<svg {size} font-size="11" role="img" aria-label="rank correlations">{"".join(cells + below)}</svg>'


def scatter(name: str, scores: np.ndarray, accuracy: np.ndarray) -> str:
    """Accuracies `[n]` over the ranks of scores `[n]`, as an SVG."""
    from scipy.stats import rankdata

    from predictors.regression import rank_correlation

    x = (rankdata(scores) - 1) / max(1, len(scores) - 1)
    y = (accuracy - accuracy.min()) / (np.ptp(accuracy) or 1.0)
    dots = "".join(
        f'<circle cx="{6 + (_PLOT - 12) * a:.1f}" cy="{_PLOT + 14 - (_PLOT - 12) * b:.1f}" r="2"/>'
        for a, b in zip(x, y, strict=True)
    )
    label = f"{name} {rank_correlation('spearman', scores, accuracy):.2f}"
    return (
        f'<svg viewBox="0 0 {_PLOT} {_PLOT + 20}" width="{_PLOT}" font-size="12" role="img" '
        f'aria-label="{label}"><text x="6" y="14">{label}</text>'
        f'<g fill="#0969da" fill-opacity=".6">{dots}</g></svg>'
    )


def _proxies(document: dict[str, Any]) -> str:
    rows = [
        f'<tr><td>{name}</td><td class="text">{html.escape(p["formula"])}</td>'
        f'<td class="text">{html.escape(p["source"])}</td><td>{p["cost"]}</td><td>{p["failures"]}</td></tr>'
        for name, p in document["proxies"].items()
    ]
    head = "<tr><th>proxy<th>formula<th>source<th>cost (a forward pass is 1)<th>not computable</tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _scores(document: dict[str, Any], names: list[str]) -> str:
    best = sorted(document["scores"], key=lambda row: -row[names[0]])
    columns = [*names, *(["accuracy"] if "accuracy" in best[0] else [])]
    rows = [
        f"<tr><td>{html.escape(row['arch'])}</td>{''.join(f'<td>{row[name]:.5g}</td>' for name in columns)}</tr>"
        for row in best
    ]
    head = "".join(f"<th>{name}" for name in columns)
    return f"<table><tr><th>architecture, best {names[0]} first{head}</tr>{''.join(rows)}</table>"
