"""Programs over several devices: compiled once, in threads, and found again by a training's steps."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from search_spaces import get_space
from supernets.links import cut
from supernets.prepare import few_programs, uniform_networks

CODE = """
import json
from collections import Counter
from dataclasses import replace
import jax, numpy as np
from search_spaces import MBConvSpace, get_space
from supernets import init_params
from supernets.chain import gradient
from supernets.placement import Placement
from supernets.prepare import prepare, uniform_networks
from supernets.update import zeros_like
full = get_space("ofa_mbv3", width=0.1, num_classes=4, resolutions=8, stem_stride=2).spec
stages = tuple(replace(stage, depths=(1, 2), kernels=(3, 5), expands=(3, 6)) for stage in full.stages[:1])
space = MBConvSpace("one_stage", replace(full, stages=stages), {})
compiled = Counter()

def note(event, seconds, fun_name="", **about):
    if event.endswith("backend_compile_duration"):
        compiled[fun_name] += any(name in fun_name for name in ("forward", "backward", "head", "zeros_like"))

jax.monitoring.register_event_duration_secs_listener(note)
place = Placement(8, 2)
params = place.everywhere(init_params(space, 0))
links = []
prepare(uniform_networks(space), params, 8, lambda _, n: links.append(n), place=place)
prepared = +compiled
images = place.batch(np.ones((8, 8, 8, 3), np.float32))
target = place.batch(np.full((8, 4), 0.25, np.float32))
dropout = place.batch(np.ones((8, full.feature_channels), np.float32))
total = zeros_like(params)
for x in space.sample(np.random.default_rng(0), 4):
    total = gradient(params, total, space.network(x), images, target, dropout).total
print(json.dumps({"links": links[-1], "prepared": prepared, "later": +(compiled - prepared)}))
"""


def test_what_several_devices_run_is_compiled_once_and_before(root):
    virtual = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PJRT_NPROC": "16"}  # as `nas train` does
    environment = os.environ | virtual | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    prepared, blocks = found["prepared"], found["links"] - 1  # the last link is the head
    expected = {"forward": blocks, "backward": blocks, "head": 1, "zeros_like": 1}
    assert {name.removeprefix("jit(").removesuffix(")"): count for name, count in prepared.items()} == expected
    assert found["later"] == {}


@pytest.mark.parametrize(("name", "most"), [("ofa_mbv3", 0), ("ofa_resnet50", 3)])
def test_what_is_compiled_before_the_first_step_is_what_steps_meet(name, most):
    space = get_space(name, resolutions=32)
    assert few_programs(space)
    random = map(space.network, space.sample(np.random.default_rng(1), 500))
    assert len(_programs(random) - _programs(uniform_networks(space))) <= most


def _programs(networks):
    """Operators and input shape of every link."""
    found = set()
    for network in networks:
        shape = network.shapes[0]
        for link in cut(network):
            found.add((link.operators, shape))
            shape = link.operators[-1].out_shape
    return found
