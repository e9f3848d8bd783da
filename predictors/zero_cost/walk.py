"""Passes of networks through a `Machine`: forward, and back with sums over weights."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax

from predictors.zero_cost import scaled
from predictors.zero_cost.machine import Machine
from predictors.zero_cost.programs import Forward, Pass, Sums
from predictors.zero_cost.schedule import Lane
from predictors.zero_cost.weights import Initial
from search_spaces import Conv, Network

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
    machine: Machine,
    how: Pass,
    initial: Initial,
    networks: Sequence[Network],
    groups: Sequence[Sequence[Lane]],
    image: Any,
    last: Sequence[int] | None = None,
) -> list[Trace]:
    """Runs networks on a bundle of images.

    Args:
        machine: Runs operators.
        how: What the bundle holds.
        initial: The weights.
        networks: The networks.
        groups: Their schedule.
        image: The bundle `[n, h, w, c]`.
        last: Value to stop at, for every network; the result by default. Keeps only that value.
    """
    traces = [Trace({0: image}) for _ in networks]
    weights = [code_weights(network) for network in networks]
    uses = [Counter(v for op in network for v in op.inputs) for network in networks]
    batch = len(image[0])
    for group in groups:
        group = [(n, i) for n, i in group if last is None or i < last[n]]
        if not group:
            continue
        arguments = [(tuple(traces[n].values[v] for v in networks[n].operators[i].inputs),) for n, i in group]
        results: list[Forward] = machine.run("forward", how, batch, initial, networks, group, arguments)
        for (n, i), result in zip(group, results, strict=True):
            trace = traces[n]
            trace.values[i + 1] = result.out
            if last is None:
                trace.products[i] = result.products
            if result.code is not None:
                code = result.code
                trace.code = code * weights[n][i] if trace.code is None else _add_times(trace.code, weights[n][i], code)
            if result.variance is not None:
                trace.variances.append(result.variance)
            if last is not None:
                _forget(trace.values, networks[n].operators[i].inputs, uses[n], keep=last[n])
    return traces


def _forget(values: dict[int, Any], read: Sequence[int], uses: Counter[int], keep: int) -> None:
    for v in read:
        uses[v] -= 1
        if not uses[v] and v != keep:
            values.pop(v, None)


def run_backward(
    machine: Machine,
    how: Pass,
    initial: Initial,
    networks: Sequence[Network],
    groups: Sequence[Sequence[Lane]],
    traces: Sequence[Trace],
    cotangents: Sequence[Any],
) -> None:
    """Runs the way back from cotangents of the results; fills `sums` and `image` of the traces."""
    batch = len(traces[0].values[0][0])
    pending = [{len(network.operators): c} for network, c in zip(networks, cotangents, strict=True)]
    for group in reversed(groups):
        group = [(n, i) for n, i in group if i + 1 in pending[n]]
        if not group:
            continue
        arguments = []
        ends = {(n, i): pending[n].pop(i + 1) for n, i in group}
        for n, i in group:
            ins = tuple(traces[n].values[v] for v in networks[n].operators[i].inputs)
            arguments.append((ins, traces[n].products.pop(i), ends[n, i]))
        results = machine.run("backward", how, batch, initial, networks, group, arguments)
        for (n, i), (inputs, sums) in zip(group, results, strict=True):
            traces[n].values.pop(i + 1)
            op = networks[n].operators[i]
            if sums is not None:
                traces[n].sums[op.name] = sums
            inputs += (ends[n, i],) * (len(op.inputs) - len(inputs))
            for v, cotangent in zip(op.inputs, inputs, strict=True):
                pending[n][v] = _add(pending[n][v], cotangent) if v in pending[n] else cotangent
    for trace, left in zip(traces, pending, strict=True):
        trace.image = left.get(0)


def run_flow(
    machine: Machine, initial: Initial, networks: Sequence[Network], groups: Sequence[Sequence[Lane]]
) -> list[dict[str, Array]]:
    """Logarithm of the synaptic flow through every kernel that it reaches, by operator's name, of every network."""
    jnp = jax.numpy
    values: list[dict[int, Any]] = []
    for network in networks:
        image = jnp.ones((1, network.size, network.size, network.in_channels))
        values.append({0: (image, jnp.zeros(()))})
    for group in groups:
        arguments: list[Any] = [(tuple(values[n][v] for v in networks[n].operators[i].inputs),) for n, i in group]
        results = machine.run("forward", None, 1, initial, networks, group, arguments)
        for (n, i), out in zip(group, results, strict=True):
            values[n][i + 1] = out
    pending: list[dict[int, Any]] = []
    for n, network in enumerate(networks):
        last = len(network.operators)
        pending.append({last: (jnp.ones_like(values[n][last][0]), jnp.zeros(()))})
    flows: list[dict[str, Array]] = [{} for _ in networks]
    for group in reversed(groups):
        group = [(n, i) for n, i in group if i + 1 in pending[n]]
        if not group:
            continue
        arguments = [
            (tuple(values[n][v] for v in networks[n].operators[i].inputs), pending[n].pop(i + 1)) for n, i in group
        ]
        results = machine.run("backward", None, 1, initial, networks, group, arguments)
        for (n, i), (inputs, flow) in zip(group, results, strict=True):
            if flow is not None:
                flows[n][networks[n].operators[i].name] = flow
            for v, cotangent in zip(networks[n].operators[i].inputs, inputs, strict=True):
                pending[n][v] = _add_scaled(pending[n][v], cotangent) if v in pending[n] else cotangent
    return flows
