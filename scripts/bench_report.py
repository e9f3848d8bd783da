"""How long the report page takes to open in a headless browser with many evaluated points.

    scripts/bench_report.py RUN [--points 5000] [--loads 5] [--json]

Bar: under 2 s from opening the file to the front being drawn, with 5,000 points. Needs the extra [dev] and a Chromium.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BAR_SECONDS = 2.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_DRAWN = {"front": "#front .mark", "all plots": "#latency .mark"}
_PAINTED = "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"  # the next frame is on the screen


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a searched run folder")
    parser.add_argument("--points", type=int, default=5000)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one load")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    seconds = load_seconds(crowded(given.run, given.points), 1 if given.quick else given.loads)
    drawn = {name: {"median": statistics.median(values), "seconds": values} for name, values in seconds.items()}
    found: dict[str, Any] = {"points": given.points, "bar": BAR_SECONDS, "drawn": drawn}
    if given.json:
        print(json.dumps(found))
        return
    for name, drawn in found["drawn"].items():
        print(f"{given.points} points, {name} drawn: {drawn['median']:.2f} s (bar for the front: {BAR_SECONDS} s)")


def crowded(run: Path, points: int) -> str:
    """The run's page with so many evaluated points."""
    from nas.report.data import report_data
    from nas.report.page import page

    data, rng = report_data(run), np.random.default_rng(0)
    for device in data["devices"]:
        low, high = np.min(device["evaluated"], axis=0), np.max(device["evaluated"], axis=0)
        Y = rng.uniform(low, high, (points, 2))
        device["evaluated"] = Y.tolist()
        device["predictor"]["predicted"] = (100 - Y[:, 0] + rng.normal(0, 1, points)).tolist()
    return page(data)


def load_seconds(text: str, loads: int) -> dict[str, list[float]]:
    """Seconds from opening the page, each time in a fresh context, until the front and until all plots are painted."""
    from playwright.sync_api import sync_playwright

    path: Any = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit(f"bench_report: needs a browser, one of {', '.join(BROWSERS)}.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "report.html"
        file.write_text(text)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        seconds: dict[str, list[float]] = {name: [] for name in _DRAWN}
        for _ in range(loads):
            tab = browser.new_context(offline=True).new_page()
            start = time.perf_counter()
            tab.goto(file.as_uri())
            for name, selector in _DRAWN.items():
                tab.wait_for_selector(selector, state="attached")
                tab.evaluate(_PAINTED)
                seconds[name].append(time.perf_counter() - start)
        browser.close()
    return seconds


if __name__ == "__main__":
    main()
