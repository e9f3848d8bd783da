"""Measuring on the node of a Ray cluster that carries the device's resource."""

import pytest

from latency_tables import Device, DeviceError, profiling
from latency_tables.measuring import Effort
from latency_tables.profiling import run_study, space_study
from search_spaces import covering, get_space


@pytest.mark.slow
def test_tasks_go_to_the_node_of_the_device(tmp_path, monkeypatch):
    import ray

    from nas.ray_measuring import RayExecutor

    monkeypatch.setattr(profiling, "_EFFORT", Effort(rounds=(2, 2), seconds=1.0))
    ray.init(num_cpus=1, resources={"board": 1}, include_dashboard=False, log_to_driver=False)
    try:
        space = get_space("ofa_mbv3", width=0.1, num_classes=4, resolutions=(8,), stem_stride=1, in_channels=1)
        executor = RayExecutor(ray)
        study = space_study(space, Device("board", where="ray"), fit=4, held_out=2)
        table = run_study(study, tmp_path / "t.parquet", executor=executor)
        assert set(table.kernels) == {key for arch in covering(space) for key in space.network(arch).kernels}
        with pytest.raises(DeviceError, match="No node .* has the resource 'other'"):
            executor.machine(Device("other", where="ray"))
    finally:
        ray.shutdown()
