"""Measuring on a Ray cluster: a task runs on a node that carries the device's custom resource, one at a time.

Start such a node with `ray start --address ... --resources '{"NAME": 1}'`, where NAME is the device's.
"""

from collections.abc import Container, Iterator
from typing import Any

from latency_tables import Device, DeviceError, Plan, device_side
from latency_tables.plan import Report

RETRIES = 3  # of a task whose node died


class RayExecutor:
    """Runs plans on the node of a cluster that has the resource of the device's name.

    Args:
        ray: The module, connected to a cluster.

    Raises:
        DeviceError: by its methods, if no node has the resource.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        # by value: a node needs numpy and onnxruntime, but not this package
        ray.cloudpickle.register_pickle_by_value(device_side)

    def machine(self, device: Device) -> dict[str, Any]:
        """What `device_side.fingerprint` says there."""
        return self._ray.get(self._remote(device, device_side.fingerprint).remote(device.provider))

    def run(self, plan: Plan, skip: Container[str], report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields (name, record) of every task that is not in `skip`."""
        remote = self._remote(plan.device, _run_task)
        for task in plan.tasks:
            if task["name"] in skip:
                continue
            report(task["name"], 0.0)
            models = {i: self._ray.put(plan.model(i)) for i in {*task["models"], *task["anchors"]}}
            yield (
                task["name"],
                self._ray.get(remote.remote(device_side, task, plan.device.settings, list(models.items()))),
            )

    def _remote(self, device: Device, function: Any) -> Any:
        if not self._ray.cluster_resources().get(device.name):
            raise DeviceError(
                f"No node of the Ray cluster has the resource {device.name!r}; "
                f"start one with `ray start --address ... --resources '{{\"{device.name}\": 1}}'`."
            )
        return self._ray.remote(num_cpus=0, resources={device.name: 1}, max_retries=RETRIES)(function)


def _run_task(module: Any, task: dict[str, Any], settings: dict[str, Any], models: list[tuple[int, Any]]) -> dict:
    """On the node: fetches the models of a task and measures them."""
    import ray

    found = {i: ray.get(reference) for i, reference in models}
    return module.Bench(settings, found.__getitem__)(task, lambda share: None)
