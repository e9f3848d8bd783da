"""A page that shows why a designed space is what it is: scores, blocks against runners-up, INT8 speed-ups."""

import html
from pathlib import Path
from typing import Any

from nas.files import write_bytes

_WIDE, _HIGH, _LEFT, _LOW = 720, 240, 70, 30  # px of the score curve and of its margins
_BAR = 160  # px of the longest bar
_STYLE = """
:root { color-scheme: light dark; --line: #d0d7de; --soft: #57606a; --mark: #0969da; --dot: #8c959f }
@media (prefers-color-scheme: dark) { :root { --line: #3d444d; --soft: #9198a1; --mark: #58a6ff; --dot: #6e7681 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: .25em .7em; border-bottom: 1px solid var(--line) }
td { text-align: right } th:first-child, td:first-child { text-align: left } p { color: var(--soft) }
svg { max-width: 100%; height: auto } svg text { fill: currentColor; font-size: 12px } .chosen { font-weight: bold }
.axis { stroke: var(--line) } .best { fill: none; stroke: var(--mark); stroke-width: 2 } .dot { fill: var(--dot) }
.bar { fill: var(--dot) } .chosen .bar { fill: var(--mark) } div.wide { overflow-x: auto }
"""


def write_page(folder: Path, document: dict[str, Any]) -> Path:
    """Writes `design.html`, which needs nothing from elsewhere; `document` is that of `design.json`."""
    space, device = dict(document["space"]["options"]), html.escape(document["device"])
    blocks, windows = space.pop("blocks"), space.pop("windows")
    others = html.escape(", ".join(f"{key}={value}" for key, value in space.items()))
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Space designed for {device}</title>
<style>{_STYLE}</style><h1>Space designed for {device}</h1>
<p>spaceevo, blocks {blocks}, windows {windows}; score {document["score"]:.5g}, the best of
{len(document["curve"])} spaces. All spaces: {others}.</p>
<h2>Under every limit</h2>{_limits(document["limits"])}
<h2>Scores of the evolution</h2>
<p>A dot a space in the order in which they were scored; the line is the best so far.</p>{curve(document["curve"])}
<h2>Block types, stage by stage</h2>
<p>The score with one stage's block type exchanged and all else as it is; a bar is what that loses.</p>
<div class="wide">{_alternatives(document["alternatives"])}</div>
<h2>Widths</h2>{_widths(document["alternatives"])}
<h2>How well blocks imitate the teacher</h2>
<p>Median loss ({html.escape(document["distillation"]["loss"])}) of the networks judged; lower is better.</p>
<div class="wide">{_by_stage(document["losses"], "{:.3f}")}</div>{_anchors(document)}{_speedup(document)}</html>
"""
    path = folder / "design.html"
    write_bytes(path, page.encode())
    return path


def curve(scores: list[float]) -> str:
    """Scores by position as an SVG, with the best so far."""
    low, high = min(scores), max(scores)
    span = high - low or 1.0

    def x(i: int) -> float:
        return _LEFT + (_WIDE - _LEFT - 10) * (i / max(1, len(scores) - 1))

    def y(value: float) -> float:
        return 10 + (_HIGH - _LOW - 10) * (1 - (value - low) / span)

    dots = "".join(
        f'<circle class="dot" cx="{x(i):.1f}" cy="{y(v):.1f}" r="2"><title>{i + 1}: {v:.5g}</title></circle>'
        for i, v in enumerate(scores)
    )
    points, best = [], scores[0]
    for i, value in enumerate(scores):
        best = max(best, value)
        points.append(f"{x(i):.1f},{y(best):.1f}")
    floor = _HIGH - _LOW
    return (
        f'<svg viewBox="0 0 {_WIDE} {_HIGH}" width="{_WIDE}" role="img" aria-label="Scores of {len(scores)} spaces, '
        f'the best {high:.5g}"><path class="axis" d="M{_LEFT} 10V{floor}H{_WIDE - 10}" fill="none"/>'
        f'<text x="{_LEFT - 6}" y="16" text-anchor="end">{high:.4g}</text>'
        f'<text x="{_LEFT - 6}" y="{floor}" text-anchor="end">{low:.4g}</text>'
        f'<text x="{_WIDE - 10}" y="{_HIGH - 8}" text-anchor="end">{len(scores)} spaces</text>{dots}'
        f'<polyline class="best" points="{" ".join(points)}"/></svg>'
    )


def _limits(rows: list[dict[str, float]]) -> str:
    cells = (
        f"<tr><td>{r['limit_ms']:g} ms<td>{r['share']:.1%}<td>{r['penalty']:.3f}"
        f"<td>{r['loss']:.3f}<td>{1 / (r['penalty'] * r['loss']):.4f}</tr>"
        for r in rows
    )
    head = "<th>limit<th>networks under it<th>penalty<th>loss of the best<th>part of the score"
    return f"<table><tr>{head}</tr>{''.join(cells)}</table>"


def _alternatives(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0]["blocks"])
    worst = max((max(r["blocks"].values()) - min(r["blocks"].values()) for r in rows), default=0.0) or 1.0
    body = ""
    for r in rows:
        chosen, cells = r["blocks"][r["block"]], ""
        for name in names:
            lost = chosen - r["blocks"][name]
            width = max(0.0, _BAR * 0.5 * lost / worst)
            kind = ' class="chosen"' if name == r["block"] else ""
            text = "chosen" if name == r["block"] else f"{-lost:+.3g}"
            bar = f'<svg width="{_BAR // 2}" height="8" aria-hidden="true"><rect class="bar" width="{width:.1f}" '
            cells += f'<td{kind}>{text}<br>{bar}height="8"/></svg>'
        body += f"<tr><td>{r['stage']}{cells}</tr>"
    return f"<table><tr><th>stage{''.join(f'<th>{html.escape(n)}' for n in names)}</tr>{body}</table>"


def _widths(rows: list[dict[str, Any]]) -> str:
    body = ""
    for r in rows:
        others = [w for w in r["windows"] if w["widths"] != r["widths"]]
        mine = next(w["score"] for w in r["windows"] if w["widths"] == r["widths"])
        best = max(others, key=lambda w: w["score"], default=None)
        rival = "-" if best is None else f"{', '.join(map(str, best['widths']))} ({best['score'] - mine:+.3g})"
        body += f"<tr><td>{r['stage']}<td>{', '.join(map(str, r['widths']))}<td>{rival}</tr>"
    return f"<table><tr><th>stage<th>channels<th>best other window, and its score against this</tr>{body}</table>"


def _anchors(document: dict[str, Any]) -> str:
    if (anchors := document.get("anchors")) is None:
        return ""
    body = "".join(
        f"<tr><td>{html.escape(r['block'])}<td>{r['latency_ms']:.3g} ms<td>{r['loss']:.3f}<td>{r['error']:.2f} %"
        f"<td>{anchors['added'][r['block']]:.3f}</tr>"
        for r in anchors["networks"]
    )
    head = "<th>block type throughout<th>latency<th>loss<th>error<th>added to every stage's loss"
    return (
        f"<h2>Block types against each other</h2><p>Networks of one block type, {anchors['epochs']} epochs each. "
        f"A loss of 1 is {anchors['slope']:.3g} +- {anchors['slope_error']:.2g} points; types whose errors are larger "
        f"at equal loss count as worse by what is added.{_of_earlier(document)}</p><table><tr>{head}</tr>{body}</table>"
    )


def _of_earlier(document: dict[str, Any]) -> str:
    """Anchors that were taken over have latencies of the device that they were trained for."""
    earlier = document.get("from")
    return f" They are of {html.escape(earlier)}, latencies by its table." if earlier else ""


def _speedup(document: dict[str, Any]) -> str:
    if document["speedup"] is None:
        return ""
    return (
        "<h2>What the precision buys</h2><p>fp32 latency over that in the precision of the device, of all networks "
        f'judged together, block type by block type.</p><div class="wide">{_by_stage(document["speedup"], "{:.2f}x")}'
        "</div>"
    )


def _by_stage(values: dict[str, list[float]], form: str) -> str:
    stages = range(1, len(next(iter(values.values()))) + 1)
    body = "".join(
        f"<tr><td>{html.escape(name)}{''.join(f'<td>{form.format(v)}' for v in row)}</tr>"
        for name, row in values.items()
    )
    return f"<table><tr><th>block type{''.join(f'<th>stage {s}' for s in stages)}</tr>{body}</table>"
