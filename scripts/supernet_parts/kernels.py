"""Where the time of a step goes: kernels by kind, and what the programs read, write and compute."""

import argparse
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces import Network
from supernet_parts.common import step_space
from supernet_parts.stages import Stages

_KINDS = {
    "depthwise": r"(forward|input|filter)_kernel",
    "products": r"gemm|cutlass|nvjet|cublas|xmma|dot",
    "sums": r"reduc",
    "copies": r"memcpy|memset|copy|transpose|concatenate|slice",
}
_STEPS = 5


def kernels(options: argparse.Namespace, stages: Stages) -> dict[str, Any]:
    """Of one gradient of the largest and of the smallest network: milliseconds by kind of kernel, bytes, FLOPs."""
    rows = [stages(name, partial(_row, options, name)) for name in ("largest", "smallest")]
    return {"batch": rows[0]["batch"], "rows": rows}


def _row(options: argparse.Namespace, name: str) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    from supernets import init_params
    from supernets.chain import gradient
    from supernets.update import zeros_like

    space, batch, dtype = step_space(options)
    network = space.network(space.largest if name == "largest" else space.smallest)
    params = init_params(space, 0)
    images = jnp.ones((batch, network.size, network.size, 3), dtype)
    target, dropout = jnp.full((batch, 10), 0.1), jnp.ones((batch, network.operators[-1].in_channels))  # type: ignore[attr-defined]

    def step() -> None:
        jax.block_until_ready(gradient(params, zeros_like(params), network, images, target, dropout).total)

    step()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(_STEPS):
                step()
        events = list(_events(Path(folder)))
    calls = Counter[str]()
    ms, by_name = defaultdict[str, float](float), defaultdict[str, float](float)
    for kernel, duration in events:
        kind = next((kind for kind, pattern in _KINDS.items() if re.search(pattern, kernel)), "others")
        ms[kind] += duration / 1e6 / _STEPS
        calls[kind] += 1
        by_name[re.sub(r"[_.]?\d+$", "", kernel)] += duration / 1e6 / _STEPS
    cost = _cost(params, network, batch, dtype)
    return {
        "network": name,
        "batch": batch,
        "ms_and_calls": {kind: [value, calls[kind] / _STEPS] for kind, value in ms.items()},
        "kernels_ms": sum(ms.values()),
        "longest_ms": dict(sorted(by_name.items(), key=lambda pair: -pair[1])[:20]),
        **cost,
    }


def _events(folder: Path) -> Iterator[tuple[str, float]]:
    """Names and nanoseconds of what the device ran."""
    import jax

    for path in folder.rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            for line in plane.lines:
                if "GPU" in plane.name and line.name.startswith("Stream"):
                    yield from ((event.name, event.duration_ns) for event in line.events)


def _cost(params: Any, network: Network, batch: int, dtype: Any) -> dict[str, float]:
    """Bytes and FLOPs of all links' programs together, as their compiler counts them."""
    import jax
    import jax.numpy as jnp

    from supernets import programs
    from supernets.any_kernel import any_kernel
    from supernets.links import cut

    total = defaultdict[str, float](float)
    x: Any = jax.ShapeDtypeStruct((batch, network.size, network.size, 3), dtype)

    def add(lowered: Any) -> Any:
        found = lowered.compile().cost_analysis()
        found = found[0] if isinstance(found, list) else found
        total["bytes"] += found.get("bytes accessed", np.nan)
        total["flops"] += found.get("flops", np.nan)
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), lowered.out_info)

    for i, link in enumerate(cut(network)[:-1]):
        weights = link.weights(params)
        operators, choices = any_kernel(link.operators, weights)
        about = {"operators": operators, "first": i == 0, "files": None, "mesh": None}
        y, made = add(programs.forward.lower(weights, x, choices, **about))
        sums = jax.tree.map(jnp.zeros_like, weights)
        add(programs.backward.lower(sums, weights, x, choices, made, y, **about))
        x = y
    return dict(total)
