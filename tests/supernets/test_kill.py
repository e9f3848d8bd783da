"""Real kills: `kill -9` at random moments of a training; its loss curve must not show it."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from search_spaces import ChoiceSpace, MBConvSpace, get_space
from supernets import TrainConfig, train
from supernets.architecture import LatencyModel
from supernets.data import load_dataset
from supernets.differentiable import Differentiable
from supernets.search_config import SearchConfig, fbnet_config

method, pictures, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
data = load_dataset(pictures, size=12, stream=True)
options = dict(num_classes=data.num_classes, stem_stride=2)
config = TrainConfig(epochs=6, warm_epochs=2, batch_size=16, random_subnets=1, peak_lr=0.05, checkpoint_seconds=0.05)
losses = (out / "losses.txt").open("a")

def note(report):
    losses.write(f"{report.step} {float(report.last).hex()}\\n")
    losses.flush()

about = dict(mean=data.mean, std=data.std, folder=out)
if method in ("sandwich", "ofa"):
    full = get_space("ofa_mbv3", width=0.1, resolutions=(8, 12), **options)
    stages = tuple(replace(stage, depths=(1, 2), kernels=(3, 5)) for stage in full.spec.stages[:2])
    space = MBConvSpace("two_stages", replace(full.spec, stages=stages), {})
    train(space, data.train_images, data.train_labels, config=replace(config, method=method), on_step=note, **about)
else:
    full = get_space("fbnet", image_size=12, channels=(8,) * 9, **options)
    layers = tuple(replace(layer, candidates=layer.candidates[:4:3]) for layer in full.spec.layers[:2])
    space = ChoiceSpace("two_layers", replace(full.spec, layers=layers), {})
    weights = replace(config, method="single_path", warm_epochs=1)
    two = SearchConfig("proxyless", weights, arch_every=2, gradient="two", arch_share=0.3)
    wish = two if method == "proxyless" else replace(fbnet_config(weights), arch_share=0.3)
    latency = LatencyModel(tuple(np.array([0.1, 0.3]) for _ in layers), 0.5)
    Differentiable(space, data.train_images, data.train_labels, config=wish, latency=latency, **about).run(note)
print("whole")
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 2)):
        for label in range(4):
            (root / part / str(label)).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 90, (14, 15, 3))
                pixels[7 * (label // 2) :, 7 * (label % 2) :] += 120
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / str(label) / f"{i}.png")
    return root


def curve(folder):
    """Loss of every step, and how often a step was repeated; repeated ones must be equal."""
    found, again = {}, 0
    for line in (folder / "losses.txt").read_text().splitlines():
        step, loss = line.split()
        again += step in found
        assert found.setdefault(step, loss) == loss, (step, loss)
    return found, again


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sandwich", "ofa", "proxyless", "fbnet"])
def test_killed_training_has_the_loss_curve_of_an_undisturbed_one(tmp_path, pictures, method):
    rng, whole, killed = random.Random(method), tmp_path / "whole", tmp_path / "killed"

    def start(folder):
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-c", SCRIPT, method, str(pictures), str(folder)]
        environment = os.environ | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # each start compiles the same
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    process = start(whole)
    assert process.communicate(timeout=600)[0] == "whole\n", process.stderr
    expected, _ = curve(whole)
    assert len(expected) >= 30 or method in ("proxyless", "fbnet")
    for _ in range(2):
        before = len((killed / "losses.txt").read_text()) if killed.exists() else 0
        process = start(killed)
        while process.poll() is None:  # until it has made a few steps since its start
            path = killed / "losses.txt"
            if path.exists() and len(path.read_text()) > before + rng.randrange(60, 250):
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(killed)
    out, error = process.communicate(timeout=600)
    assert out == "whole\n", error
    assert curve(killed)[0] == expected
    if method in ("sandwich", "ofa"):
        assert (killed / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
