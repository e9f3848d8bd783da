"""Memory of a step of a search."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from search_spaces import ChoiceSpace, get_space
from supernet_parts.stages import Stages


def memory(options: argparse.Namespace, stages: Stages) -> dict[str, Any]:
    """Bytes that live at most during a step of a search, by the number of candidate blocks a layer."""
    size, batch = (32, 4) if options.quick else (32, 32)
    counts = (1, 2) if options.quick else (1, 2, 4, 6)  # without skips: as many for every layer
    rows = [stages(str(n), partial(memory_row, n, size, batch)) for n in counts]
    return {"batch": batch, "size": size, "rows": rows}


def memory_row(count: int, size: int, batch: int) -> dict[str, Any]:
    """For ProxylessNAS's space with the last `count` candidates of each layer."""
    import jax
    import jax.numpy as jnp

    from supernets import mixed, path_gates, programs
    from supernets.chain import gradient
    from supernets.shared import init_shared

    full = get_space("proxyless", num_classes=10, image_size=size, stem_stride=1, width=0.5)
    assert isinstance(full, ChoiceSpace)
    layers = tuple(replace(layer, candidates=layer.candidates[-count:]) for layer in full.spec.layers)
    space = ChoiceSpace("some", replace(full.spec, layers=layers), {"count": count})
    params, p = init_shared(space, 0), mixed.plan(space)
    path, every = [count - 1] * len(layers), [range(count)] * len(layers)
    images, target = jnp.ones((batch, size, size, 3)), jnp.full((batch, 10), 0.1)
    ones = jnp.ones((batch, p.head.operators[-1].in_channels))  # type: ignore[attr-defined]
    zeros = jax.tree.map(jnp.zeros_like, params)
    shares = [np.full(count, 1 / count)] * len(layers)

    def at_once(m: Any) -> Any:
        """The mixture as one program that keeps every candidate's intermediate values."""
        x = programs.run(p.first.weights(params), images, p.first.operators, {})
        for layer, share in zip(p.layers, m, strict=True):
            outputs = [x if k is None else programs.run(k.weights(params), x, k.operators, {}) for k in layer]
            x = sum(s * o for s, o in zip(share, outputs, strict=True))
        logits = programs.run(p.head.weights(params), x, p.head.operators, {}).reshape(batch, -1)
        return -(target * jax.nn.log_softmax(logits)).sum(axis=1).mean()

    whole = jax.jit(jax.grad(at_once)).lower([jnp.asarray(s, jnp.float32) for s in shares]).compile()
    return {
        "candidates": count,
        "weights_bytes": sum(value.nbytes for value in params.values()),
        "one_path_bytes": peak_bytes(lambda: gradient(params, zeros, space.network(path), images, target, ones).loss),
        "proxyless_bytes": peak_bytes(lambda: path_gates.gates(params, p, path, every, images, target).loss),
        "fbnet_bytes": peak_bytes(
            lambda: mixed.mixture(params, jax.tree.map(jnp.zeros_like, params), p, shares, images, target).loss
        ),
        "all_at_once_bytes": int(getattr(whole.memory_analysis(), "temp_size_in_bytes", 0)),
    }


def peak_bytes(run: Callable[[], Any]) -> int:
    """Most bytes of arrays that live on the device between the programs of a call, beyond those from before it."""
    import jax

    from supernets import mixed, path_gates, programs

    before, peak = sum(a.nbytes for a in jax.live_arrays()), [0]
    watch = {
        (module, name): getattr(module, name)
        for module in (programs, mixed, path_gates)
        for name in (
            "forward",
            "backward",
            "apply",
            "_gate",
            "_pull",
            "_add_made",
            "_add_scaled",
        )
        if hasattr(module, name)
    }

    def watched(inner: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            result = inner(*arguments, **more)
            peak[0] = max(peak[0], sum(a.nbytes for a in jax.live_arrays()) - before)
            return result

        return call

    try:
        for (module, name), inner in watch.items():
            setattr(module, name, watched(inner))
        jax.block_until_ready(run())
    finally:
        for (module, name), inner in watch.items():
            setattr(module, name, inner)
    return peak[0]
