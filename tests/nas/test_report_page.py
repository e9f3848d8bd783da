"""The report in a real headless browser: load, click, slide, two devices, a phone, and axe-core's rules."""

import copy
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas.intervals import wilson
from nas.report.anatomy import kernels
from nas.report.data import report_data
from nas.report.page import page

AXE = Path(__file__).resolve().parents[2] / "node_modules" / "axe-core" / "axe.min.js"
POINTS = 5000


@pytest.fixture(scope="module")
def page_file(run_folder, tmp_path_factory) -> Path:
    """The run's report with 5,000 evaluated points and a second device, twice as slow, that has no front."""
    data = report_data(run_folder)
    rng = np.random.default_rng(0)
    device = data["devices"][0]
    device["evaluated"] = np.stack([rng.uniform(10, 60, POINTS), rng.uniform(0.05, 0.5, POINTS)], axis=1).tolist()
    device["predictor"]["predicted"] = (100 - np.array(device["evaluated"])[:, 0] + rng.normal(0, 1, POINTS)).tolist()
    second = copy.deepcopy(device)
    second["device"] = "phone & 'co'"
    for entry in [*second["front"], *second["baselines"]]:
        entry["latency_ms"] = {k: 2 * v for k, v in entry["latency_ms"].items()}
    data["devices"].append(second)
    path = tmp_path_factory.mktemp("page") / "r.html"
    path.write_text(page(data))
    return path


@pytest.fixture
def opened(browser, page_file):
    """Opens the page; fails if it logs an error or asks the network for anything."""
    problems: list[str] = []

    def open_(**options):
        tab = browser.new_context(offline=True, **options).new_page()
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        tab.on("request", lambda request: None if request.url.startswith("file:") else problems.append(request.url))
        tab.goto(page_file.as_uri())
        tab.wait_for_selector("#front .mark")
        return tab

    yield open_
    assert problems == []


def test_wilson_is_the_published_interval():
    low, high = wilson(90.0, 10)  # 9 of 10: Newcombe 1998's method 3
    assert (round(low, 2), round(high, 2)) == (59.58, 98.21)
    assert wilson(100.0, 50)[1] == 100 and wilson(0.0, 50)[0] == 0


def test_kernels_of_unknown_time_are_none_not_zero(run_folder):
    from nas.runs import Run

    space = Run.open(run_folder).space
    network = space.network(space.sample(np.random.default_rng(0), 1)[0])
    one = network.kernels[0]
    rows = kernels(network, {one: 2.0})
    assert rows[0] == {"key": one, "times": network.kernels.count(one), "ms": 2.0 * network.kernels.count(one)}
    assert all(row["ms"] is None for row in rows[1:])
    assert sum(row["times"] for row in rows) == len(network.kernels)


def test_click_by_mouse_and_keyboard_shows_a_network(opened, front):
    tab = opened()
    tab.evaluate("document.getElementById('front').scrollIntoView()")
    chosen = front["front"][0]
    tab.get_by_role("button", name="front 1", exact=True).click()
    assert chosen["arch"] in tab.inner_text("#facts") and chosen["arch"] in tab.inner_text("#command")
    assert tab.inner_text("#command").startswith("nas export ")
    low, high = wilson(chosen["accuracy"], front["validation_images"])
    assert f"{low:.2f}-{high:.2f}" in tab.inner_text("#facts")
    skipped = tab.locator("#layers .block.skipped").count()
    drawn = tab.locator("#layers .block").count()
    text = chosen["arch"]
    assert drawn - skipped == text.count("-k") + 6  # elastic blocks, and stem, first, three of the head, pool
    assert skipped == 20 - text.count("-k")
    tab.get_by_role("button", name="uniform 1", exact=True).focus()
    tab.keyboard.press("Enter")
    assert front["baselines"][0]["arch"] in tab.inner_text("#facts")
    assert tab.locator("#copy").is_hidden()
    point = tab.locator("#front .mark").last
    tab.locator("#front").scroll_into_view_if_needed()
    box = point.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x - 3, y)
    tab.mouse.move(x, y)
    tab.locator("#front .tip").wait_for()
    assert front["front"][-1]["arch"] in tab.inner_text("#front .tip")
    tab.mouse.click(x, y)
    assert tab.locator("#networks tr.chosen button").inner_text() in (
        f"front {len(front['front'])}", f"uniform {len(front['baselines'])}"
    )  # fmt: skip  # the largest is often both: one point


def test_slider_by_keyboard_keeps_the_limit(opened, front):
    tab = opened()
    tab.focus("#limit")
    tab.keyboard.press("Home")
    assert f"{front['front'][0]['accuracy']:.2f} %" in tab.inner_text("#best")
    assert tab.locator("#networks tr.over").count() >= len(front["front"]) - 1
    tab.keyboard.press("End")
    assert f"{max(e['accuracy'] for e in front['front']):.2f} %" in tab.inner_text("#best")


def test_drag_zooms_and_double_click_shows_all_again(opened):
    tab = opened()
    assert tab.locator("#front .cloud").first.get_attribute("d").count("M") == POINTS
    tab.locator("#front").scroll_into_view_if_needed()
    before = tab.text_content("#front .frame")
    box = tab.locator("#front .frame").bounding_box()
    tab.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.2 * box["height"])
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"], steps=3)
    tab.mouse.up()
    assert tab.text_content("#front .frame") != before
    tab.locator("#front .frame").dblclick(position={"x": 100, "y": 12})
    assert tab.text_content("#front .frame") == before


def test_devices_side_by_side_and_copy(opened, front):
    tab = opened()
    tab.wait_for_selector("#fronts .mark")
    assert tab.locator("#fronts .legend li").all_inner_texts() == ["local-cpu-1t", "phone & 'co'"]
    tab.select_option("#device", label="phone & 'co'")
    assert f"{2 * front['front'][-1]['latency_ms']['median']:.3f}" in tab.inner_text("#networks")
    assert "--device 'phone & '\\''co'\\'''" in tab.inner_text("#command")
    tab.click("#copy")
    tab.wait_for_function("document.getElementById('copied').textContent")


def test_phone_and_dark(opened):
    tab = opened(viewport={"width": 360, "height": 740}, color_scheme="dark")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    light, dark = (
        tab.evaluate("getComputedStyle(document.body).backgroundColor"),
        opened().evaluate("getComputedStyle(document.body).backgroundColor"),
    )
    assert light != dark


def test_a_running_search_is_followed(browser, run_folder, tmp_path):
    """The server over a log that grows while the page is open."""
    copied = tmp_path / "run"
    shutil.copytree(run_folder, copied)
    (copied / "search" / "front-local-cpu-1t.json").unlink()
    log = copied / "search" / "local-cpu-1t-ehvi-seed0.jsonl"
    for other in set(log.parent.glob("*.jsonl")) - {log}:
        other.unlink()
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:6]) + lines[6][:9])  # the last one is half written
    server = subprocess.Popen(
        [sys.executable, "-m", "nas", "report", str(copied), "--serve", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        url = server.stdout.readline().strip()
        tab = browser.new_page()
        tab.goto(url)
        tab.get_by_text("5 evaluated").wait_for()
        log.write_text("".join(lines[:10]))
        tab.get_by_text("9 evaluated").wait_for()
        assert tab.locator("#done").is_hidden()
        assert tab.request.get(url + "report").status == 503
        assert tab.request.get(url + "../config.json").status == 404
        assert tab.request.get(url + "data.json", headers={"Host": "evil.example"}).status == 404
    finally:
        server.send_signal(signal.SIGINT)
        _, stderr = server.communicate(timeout=30)
    assert server.returncode == 2 and "Traceback" not in stderr


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility_rules(opened, scheme):
    """Needs `npm install --no-save axe-core` in the repository."""
    if not AXE.is_file():
        pytest.skip("needs axe-core: npm install --no-save axe-core")
    tab = opened(color_scheme=scheme)
    tab.add_script_tag(content=AXE.read_text())
    found = tab.evaluate("axe.run().then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html).slice(0, 3)]))")
    assert found == [], json.dumps(found, indent=1)
