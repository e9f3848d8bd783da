"""Groups of a batch that are normalised apart: on one device or two, the mean of the groups' own gradients."""

import json
import os
import subprocess
import sys

import pytest

from supernets.errors import TrainingError
from supernets.groups import Groups
from supernets.placement import Placement

CODE = """
import json
from dataclasses import replace
import jax, numpy as np
from search_spaces import MBConvSpace, get_space
from supernets import TrainConfig, init_params
from supernets.groups import Groups
from supernets.placement import Placement
from supernets.rules import Batch, Draw, summed_gradient
full = get_space("ofa_mbv3", width=0.1, num_classes=4, resolutions=8, stem_stride=2).spec
stages = tuple(replace(stage, depths=(1, 2), kernels=(3, 5), expands=(3, 6)) for stage in full.stages[:1])
space = MBConvSpace("one_stage", replace(full, stages=stages), {})
rng, n = np.random.default_rng(0), 16
arrays = (
    rng.normal(size=(n, 8, 8, 3)).astype(np.float32),
    np.eye(4, dtype=np.float32)[rng.integers(0, 4, n)],
    np.ones((n, full.feature_channels), np.float32),
)
draws = [Draw(space.network(space.cardinality - 1)), Draw(space.network(0 * space.cardinality), "first")]

def step(devices, count, arrays):
    place = Placement(len(arrays[0]), devices)
    groups = Groups(count, len(arrays[0]), place)
    params = place.everywhere(init_params(space, 0))
    total, losses = groups.zeros(params), []
    for part in groups.of(Batch(*map(place.batch, arrays))):
        found = summed_gradient(params, total, draws, part, TrainConfig(), mesh=groups.mesh)
        total = found.total
        losses.append(np.asarray(found.loss).mean())
    return float(np.mean(losses)), {k: np.asarray(v) for k, v in groups.mean(total).items()}

def distance(a, b):
    squares = [sum(np.square(x[k] - y[k]).sum() for k in x) for x, y in ((a, b), (a, {k: 0 for k in a}))]
    return float(np.sqrt(squares[0] / squares[1]))

one = {count: step(1, count, arrays) for count in (1, 2, 4)}
two = {4: step(2, 4, arrays)}
halves = [step(1, 1, [a[i : i + n // 2] for a in arrays]) for i in (0, n // 2)]
mean = {k: (halves[0][1][k] + halves[1][1][k]) / 2 for k in halves[0][1]}
print(json.dumps({
    "devices": {count: [abs(one[count][0] - two[count][0]), distance(one[count][1], two[count][1])] for count in two},
    "halves": [abs(one[2][0] - (halves[0][0] + halves[1][0]) / 2), distance(one[2][1], mean)],
    "whole": distance(one[1][1], one[2][1]),
}))
"""


def test_devices_do_not_change_what_groups_are(root):
    virtual = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PJRT_NPROC": "16"}  # as `nas train` does
    environment = os.environ | virtual | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=root, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for loss, gradient in (*found["devices"].values(), found["halves"]):
        assert loss < 1e-5 and gradient < 1e-4
    assert found["whole"] > 1e-2  # moments of a whole batch are others


@pytest.mark.parametrize(("count", "batch", "words"), [(3, 16, "must be a multiple of norm_groups")])
def test_what_does_not_fit_is_said(count, batch, words):
    with pytest.raises(TrainingError, match=words):
        Groups(count, batch, Placement(batch))
