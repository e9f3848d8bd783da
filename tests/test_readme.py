"""Every command in the README runs, in the order written, in an empty folder with a person's own pictures."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(), re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_scripts_exist():
    scripts = [line.split()[0] for line in commands() if line.startswith("scripts/")]
    assert {"scripts/demo", "scripts/test"} <= set(scripts)
    assert all((README.parent / script).stat().st_mode & 0o100 for script in scripts)


def test_every_nas_command_runs(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(120):
        shade = 60 + 120 * (i % 2)
        folder = tmp_path / "my-images" / ("dark", "light")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(shade - 50, shade + 50, (12, 12, 3)).astype(np.uint8)).save(folder / f"{i}.png")
    lines = [line for line in commands() if line.startswith("nas ") and not line.startswith("nas demo")]
    assert len(lines) >= 8
    for done, line in enumerate(lines):
        if done == 3:  # from a folder of pictures to ONNX files
            assert len(list((tmp_path / "runs" / "mine" / "export").glob("*.onnx"))) == 2
        arguments = [sys.executable, "-m", "nas", *shlex.split(line)[1:]]
        ended = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=1800)
        assert ended.returncode == 0, f"{line}\n{ended.stderr[-2000:]}"
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()


@pytest.mark.slow
def test_demo_keeps_its_promises(tmp_path):
    """The bars of the main job, on whatever machine this is; about seven minutes on two cores."""
    import json

    arguments = [sys.executable, "-m", "nas", "demo", "--out", str(tmp_path / "demo"), "--json"]
    document = json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)
    exports = {card["name"]: card for card in document["exports"]}
    assert list(exports) == ["fastest", "knee", "most_accurate"]
    assert exports["most_accurate"]["accuracy"] >= 86.0
    assert exports["most_accurate"]["latency_ms"]["median"] >= 2 * exports["fastest"]["latency_ms"]["median"]
    assert all(card["max_abs_diff"] <= 1e-4 for card in exports.values())
