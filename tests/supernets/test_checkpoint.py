"""A checkpoint is read wherever it was made: with a GPU, or over more devices than there are here."""

import json
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np

from search_spaces import get_space
from supernets.checkpoint import Checkpoints
from supernets.checksums import write_checksums

SPACE = get_space("nasbench_macro")
OVER_TWO = """
import sys
from pathlib import Path
import numpy as np
from search_spaces import get_space
from supernets.checkpoint import Checkpoints
from supernets.placement import Placement
params = Placement(2, 2).everywhere({"a.kernel": np.arange(3, dtype=np.float32)})
Checkpoints(Path(sys.argv[1]), get_space("nasbench_macro")).save(1, {"params": params}, {})
"""


def test_a_checkpoint_of_a_gpu_is_read_without_one(tmp_path):
    """What orbax notes of the place of every array is that of a GPU here."""
    Checkpoints(tmp_path, SPACE).save(1, {"params": {"a.kernel": jnp.arange(3.0)}}, {"step": 1})
    (places,) = (tmp_path / "1" / "state").glob("*sharding*")
    noted = json.loads(places.read_text())
    assert noted and all("cpu:0" in place for place in noted.values())
    places.write_text(json.dumps({name: place.replace("cpu:0", "cuda:0") for name, place in noted.items()}))
    write_checksums(tmp_path / "1", tmp_path / "sha256-1.json")
    state, about = Checkpoints(tmp_path, SPACE).restore()
    np.testing.assert_array_equal(state["params"]["a.kernel"], [0, 1, 2])
    assert about["step"] == 1


def test_a_checkpoint_of_two_devices_is_read_on_one(tmp_path, root):
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", OVER_TWO, str(tmp_path)], env=os.environ | flags, check=True, timeout=300)
    assert "NamedSharding" in next((tmp_path / "1" / "state").glob("*sharding*")).read_text()
    state, _ = Checkpoints(tmp_path, SPACE).restore()
    np.testing.assert_array_equal(state["params"]["a.kernel"], [0, 1, 2])
