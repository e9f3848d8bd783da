"""Several devices: the same losses, the batch divided."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from supernets.errors import TrainingError
from supernets.placement import Placement

CODE = """
import json, sys
import jax, numpy as np
from pathlib import Path
from search_spaces import ChoiceSpace, get_space
from dataclasses import replace
from supernets import TrainConfig, train
full = get_space("nasbench_macro", num_classes=4, image_size=8).spec
layers = tuple(replace(l, channels=8, candidates=l.candidates[:2]) for l in full.layers[:2])
space = ChoiceSpace("two", replace(full, layers=layers, stem_channels=8, final_channels=16), {})
rng = np.random.default_rng(0)
images, labels = rng.integers(0, 256, (64, 8, 8, 3)).astype(np.uint8), (np.arange(64) % 4).astype(np.int32)
config = TrainConfig(method="single_path", epochs=2, warm_epochs=0, batch_size=16, random_subnets=1)
reports = []
params = train(space, images, labels, mean=np.full(3, .5, np.float32), std=np.full(3, .3, np.float32),
    config=config, folder=Path(sys.argv[1]), on_step=reports.append, devices=int(sys.argv[2]))
print(json.dumps({"losses": [r.loss for r in reports], "devices": len(params["stem.kernel"].sharding.device_set)}))
"""


def losses(folder, root, devices):
    virtual = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PJRT_NPROC": "16"}  # as `nas train` sets it
    environment = os.environ | virtual | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", CODE, str(folder), str(devices)]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_two_devices_have_the_losses_of_one(tmp_path, root):
    one, two = (losses(tmp_path / str(n), root, n) for n in (1, 2))
    assert (one["devices"], two["devices"]) == (1, 2)
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-3)


def test_what_does_not_fit_is_said():
    with pytest.raises(TrainingError, match="must not exceed"):
        Placement(64, 1000)
