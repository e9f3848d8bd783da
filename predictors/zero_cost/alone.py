"""`Alone`: passes of each network by itself, for a CPU."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import jax

from predictors.zero_cost import scaled
from predictors.zero_cost.machine import Machine
from predictors.zero_cost.planes import Plane
from predictors.zero_cost.programs import Forward, Pass, Sums
from predictors.zero_cost.weights import Initial
from search_spaces import Conv, GlobalPool, Network

Array = jax.Array


@dataclass
class Trace:
    """What a pass leaves behind for one network.

    Attributes:
        values: Bundle of every value that was made.
        products: Bundle that the kernel of an operator made.
        code: Agreement of binary codes, summed over the activations `[n, n]`.
        variances: Mean variance that each batch norm removed.
        sums: By operator's name, from the way back.
        image: Cotangent of the image.
    """

    values: dict[int, Any]
    products: dict[int, Any] = field(default_factory=dict)
    code: Any = None
    variances: list[Array] = field(default_factory=list)
    sums: dict[str, Sums] = field(default_factory=dict)
    image: Any = None


@jax.jit
def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(lambda x, y: x + y, a, b)


@jax.jit
def _add_times(total: Array, times: int, code: Array) -> Array:
    return total + times * code


_add_scaled = jax.jit(scaled.add)


def code_weights(network: Network) -> list[int]:
    """How often the binary code of every operator's activation counts.

    Once a convolution that reads it: the published networks of pre-activation spaces have a ReLU
    of their own before every convolution, where ours share one.
    """
    readers = Counter(v for op in network if isinstance(op, Conv) for v in op.inputs[:1])
    return [max(1, readers[i + 1]) for i in range(len(network.operators))]


def run_forward(
    machine: Machine, how: Pass, initial: Initial, network: Network, image: Any, last: int | None = None
) -> Trace:
    """Runs a network on a bundle of images.

    Args:
        machine: Runs operators.
        how: What the bundle holds.
        initial: The weights.
        network: The network.
        image: The bundle `[n, h, w, c]`.
        last: Value to stop at; the result by default. Keeps only that value.
    """
    trace = Trace({0: image})
    weights = code_weights(network)
    uses = Counter(v for op in network for v in op.inputs)
    for i, op in enumerate(network.operators[:last]):
        ins = tuple(trace.values[v] for v in op.inputs)
        result: Forward = machine.run("forward", how, len(image[0]), initial, op, ins)
        trace.values[i + 1] = result.out
        if last is None:
            trace.products[i] = result.products
        if (code := result.code) is not None:
            trace.code = code * weights[i] if trace.code is None else _add_times(trace.code, weights[i], code)
        if result.variance is not None:
            trace.variances.append(result.variance)
        if last is not None:
            _forget(trace.values, op.inputs, uses, keep=last)
    return trace


def _forget(values: dict[int, Any], read: Sequence[int], uses: Counter[int], keep: int) -> None:
    for v in read:
        uses[v] -= 1
        if not uses[v] and v != keep:
            values.pop(v, None)


def run_backward(machine: Machine, how: Pass, initial: Initial, network: Network, trace: Trace, cotangent: Any) -> None:
    """Runs the way back from the cotangent of the result; fills `sums` and `image` of the trace."""
    batch = len(trace.values[0][0])
    pending = {len(network.operators): cotangent}
    for i, op in reversed(list(enumerate(network.operators))):
        if i + 1 not in pending:
            continue
        end = pending.pop(i + 1)
        ins = tuple(trace.values[v] for v in op.inputs)
        inputs, sums = machine.run("backward", how, batch, initial, op, ins, trace.products.pop(i), end)
        trace.values.pop(i + 1)
        if sums is not None:
            trace.sums[op.name] = sums
        inputs += (end,) * (len(op.inputs) - len(inputs))
        for v, found in zip(op.inputs, inputs, strict=True):
            pending[v] = _add(pending[v], found) if v in pending else found
    trace.image = pending.get(0)


def run_flow(machine: Machine, initial: Initial, network: Network) -> dict[str, Array]:
    """Logarithm of the synaptic flow through every kernel that it reaches, by operator's name."""
    jnp = jax.numpy
    image = jnp.ones((1, network.size, network.size, network.in_channels))
    values: list[Any] = [(image, jnp.zeros(()))]
    for op in network:
        values.append(machine.run("forward", None, 1, initial, op, tuple(values[v] for v in op.inputs)))
    pending: dict[int, Any] = {len(network.operators): (jnp.ones_like(values[-1][0]), jnp.zeros(()))}
    flows: dict[str, Array] = {}
    for i, op in reversed(list(enumerate(network.operators))):
        if i + 1 not in pending:
            continue
        ins = tuple(values[v] for v in op.inputs)
        inputs, flow = machine.run("backward", None, 1, initial, op, ins, pending.pop(i + 1))
        if flow is not None:
            flows[op.name] = flow
        for v, found in zip(op.inputs, inputs, strict=True):
            pending[v] = _add_scaled(pending[v], found) if v in pending else found
    return flows


_AT_ONCE = 2  # networks: one computes while the other is in operators too small for all cores


class Alone:
    """Runs planes over networks, operator by operator.

    Args:
        planes: The passes.
        threads: That compile at once.
    """

    def __init__(self, planes: Sequence[Plane], *, threads: int) -> None:
        self.planes = tuple(planes)
        self._machine = Machine(threads)

    def run(self, networks: Sequence[Network]) -> Iterator[list[dict[str, Any]]]:
        """What the passes leave behind of every network, see `Population.run`."""
        passes = [(plane.how, len(plane.image[0]), plane.end is not None) for plane in self.planes]
        self._machine.prepare({op for network in networks for op in network}, passes)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            waiting = deque[Future[dict[str, Any]]]()
            for network in networks:
                waiting.append(pool.submit(self._entry, network))
                if len(waiting) > _AT_ONCE:
                    yield [waiting.popleft().result()]
            yield from ([entry.result()] for entry in waiting)

    def _entry(self, network: Network) -> dict[str, Any]:
        found: dict[str, Any] = jax.device_get({plane.name: self._pass(plane, network) for plane in self.planes})
        return found

    def _pass(self, plane: Plane, network: Network) -> dict[str, Any]:
        if plane.how is None:
            return {"flows": run_flow(self._machine, plane.initial, network)}
        stop = None if plane.last is None else last_map(network)
        trace = run_forward(self._machine, plane.how, plane.initial, network, plane.image, stop)
        found: dict[str, Any] = {"code": trace.code, "variances": trace.variances}
        if plane.last is not None:
            found["last"] = _run_end(plane.last, trace.values[last_map(network)])
        if plane.end is not None:
            end = _run_end(plane.end, trace.values[len(network.operators)])
            run_backward(self._machine, plane.how, plane.initial, network, trace, end)
            found["sums"] = trace.sums
            if plane.how.jacobian:
                found["image"] = None if trace.image is None else trace.image[-1]
        return found


_run_end = jax.jit(lambda end, maps: end(maps), static_argnums=0)


def last_map(network: Network) -> int:
    """The value that the classifier's pooling reads; without pooling, what the last operator reads."""
    pools = [op for op in network if isinstance(op, GlobalPool)]
    return (pools or network.operators)[-1].inputs[0]
