"""Several devices and several hosts: the same losses, the batch divided."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from supernets.errors import TrainingError
from supernets.placement import Placement
from tests.supernets.data.test_stream import folder, shards  # noqa: F401 (fixtures)

CODE = """
import json, sys
from dataclasses import replace
from pathlib import Path
import jax, numpy as np
from supernets.placement import connect
out, devices, address, hosts, host, pictures = sys.argv[1:]
if address:
    connect(address, int(hosts), int(host))
from search_spaces import ChoiceSpace, get_space
from supernets import TrainConfig, train
from supernets.data import load_dataset
full = get_space("nasbench_macro", num_classes=4, image_size=8).spec
layers = tuple(replace(l, channels=8, candidates=l.candidates[:2]) for l in full.layers[:2])
space = ChoiceSpace("two", replace(full, layers=layers, stem_channels=8, final_channels=16), {})
data = load_dataset(pictures, size=8, stream=Path(pictures).name.startswith("shards"))
config = TrainConfig(method="single_path", epochs=2, warm_epochs=0, batch_size=16, random_subnets=1)
reports = []
params = train(space, data.train_images, data.train_labels, mean=data.mean, std=data.std, config=config,
    folder=Path(out), on_step=reports.append, devices=int(devices) or None)
print(json.dumps({"losses": [r.last for r in reports], "devices": len(params["stem.kernel"].sharding.device_set)}))
"""


def start(out, root, devices, pictures, address="", hosts=1, host=0):
    virtual = 1 if hosts > 1 else 2
    flags = {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={virtual}",
        "PJRT_NPROC": "16",
    }  # as `nas train` does
    environment = os.environ | flags | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", CODE, str(out), str(devices), address, str(hosts), str(host), str(pictures)]
    return subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def result(process):
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return json.loads(out.splitlines()[-1])


def free_address():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"


@pytest.mark.parametrize("source", ["folder", pytest.param("shards", marks=pytest.mark.slow)])
def test_two_devices_and_two_hosts_have_the_losses_of_one(tmp_path, root, request, source):
    """Images in memory and streamed; both hosts write into one folder, as on a shared disk."""
    pictures, address = request.getfixturevalue(source), free_address()
    one = result(start(tmp_path / "one", root, 1, pictures))
    two = result(start(tmp_path / "two", root, 2, pictures))
    processes = [start(tmp_path / "hosts", root, 0, pictures, address, 2, host) for host in range(2)]
    hosts = [result(process) for process in processes]
    assert [r["devices"] for r in (one, two, *hosts)] == [1, 2, 2, 2]
    assert len(one["losses"]) == 12
    for found in (two, *hosts):
        np.testing.assert_allclose(found["losses"], one["losses"], rtol=1e-3)
    assert (tmp_path / "hosts" / "metrics.csv").read_text().count("\n") == 3
    again = [start(tmp_path / "hosts", root, 0, pictures, address, 2, host) for host in range(2)]
    assert [result(process)["losses"] for process in again] == [[], []]  # the checkpoint is whole


def test_what_does_not_fit_is_said():
    with pytest.raises(TrainingError, match="must not exceed"):
        Placement(64, 1000)
