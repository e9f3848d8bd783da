"""Supernets on an accelerator: speed of a step, quality of subnets, rank fidelity, differentiable search, devices.

    python scripts/bench_supernets.py step                       # the chain against static programs; 15 min on a GPU
    python scripts/bench_supernets.py quality --epochs 60        # inherited, fine-tuned, from scratch
    python scripts/bench_supernets.py rank --epochs 60           # Kendall tau on NAS-Bench-Macro
    python scripts/bench_supernets.py search --table T.parquet   # ProxylessNAS and FBNet against random networks
    python scripts/bench_supernets.py devices                    # two devices against one
    python scripts/bench_supernets.py memory                     # what a step of a search keeps
    python scripts/bench_supernets.py kernels                    # where the time of a step goes, on a GPU
    python scripts/bench_supernets.py step --quick               # any part at a toy size, on a CPU too

All but `step` (scripts/supernet_parts) stop after --seconds and go on when run again with the same --out, or, from the
files in --pack, on another machine.

Needs the image data and benchmark tables in ../shared. Nothing but JAX's packages, numpy and pyarrow (search: the
packages of the latency table too).
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# a first start is one with an empty folder here, a later one finds programs and chosen algorithms in it
CACHE = Path(os.environ.get("NAS_BENCH_CACHE", tempfile.gettempdir())) / "nas-bench-cache"
CACHE.mkdir(parents=True, exist_ok=True)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
from nas.jax_setup import MANY_PROGRAMS, threads_for_virtual_devices  # noqa: E402

# the static programs that the chain is compared with ask for autotuning themselves
os.environ.setdefault("XLA_FLAGS", MANY_PROGRAMS)
threads_for_virtual_devices()

import numpy as np  # noqa: E402
from supernet_parts.common import step_space  # noqa: E402
from supernet_parts.run import PARTS, run_part  # noqa: E402

from search_spaces import Network  # noqa: E402

BANDWIDTH, FLOPS = 4.8e12, 989e12  # H200: bytes/s, dense bf16 FLOP/s


def median_ms(run: Callable[[], Any], repeats: int) -> float:
    """Median time of a call, after one that is not counted."""
    import jax

    jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def host_ms(run: Callable[[], Any], repeats: int) -> float:
    """Median time until a call returns, its programs handed to the device but not waited for."""
    import jax

    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
        jax.block_until_ready(result)
    return 1000 * float(np.median(times))


def bench_step(options: argparse.Namespace) -> dict[str, Any]:
    """Sandwich steps of the chain against static programs of the same networks, and a plain Flax network."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from supernets import NetworkModule, init_params
    from supernets.chain import gradient
    from supernets.placement import Placement
    from supernets.prepare import prepare, uniform_networks
    from supernets.program_files import ProgramFiles
    from supernets.programs import count, run
    from supernets.update import zeros_like

    draws, statics = (3, 1) if options.quick else (100, options.statics)
    space, batch, dtype = step_space(options)
    size = space.spec.resolutions[0]
    place = Placement(batch)
    params = place.everywhere(init_params(space, 0))
    files = ProgramFiles.beside_compiled()
    start = time.perf_counter()
    prepare(uniform_networks(space), params, batch, place=place, dtype=dtype, files=files)
    document: dict[str, Any] = {"first_start_s": time.perf_counter() - start, "batch": batch, "size": size}
    images = place.batch(jax.random.normal(jax.random.key(0), (batch, size, size, 3), dtype))
    target = place.batch(jnp.full((batch, 10), 0.1, jnp.float32))
    dropout = place.batch(jnp.ones((batch, space.spec.feature_channels)))

    def chain(networks: list[Network]) -> Any:
        total = zeros_like(params)
        for network in networks:
            total = gradient(params, total, network, images, target, dropout, files=files).total
        return total

    rng = np.random.default_rng(0)
    ends = [space.network(space.largest), space.network(space.smallest)]
    pool = [space.network(x) for x in space.sample(rng, statics)]

    def static(network: Network) -> Any:
        def loss(weights: Any) -> Any:
            logits = run(weights, images, network.operators, {}).reshape(batch, -1).astype(jnp.float32)
            return -(target * jax.nn.log_softmax(logits)).sum(axis=1).mean()

        return jax.jit(lambda p: jax.grad(loss)(p)).lower(params)

    def flax(network: Network) -> Callable[[], Any]:
        graph, state = nnx.split(NetworkModule(network, rng=rng))
        state = jax.tree.map(lambda leaf: leaf.astype(dtype), state)

        def loss(state: Any) -> Any:
            logits = nnx.merge(graph, state)(images, use_batch_statistics=True).astype(jnp.float32)
            return -(target * jax.nn.log_softmax(logits)).sum(axis=1).mean()

        run = jax.jit(jax.grad(loss, allow_int=True))
        return lambda: run(state)

    rows: list[dict[str, Any]] = []
    names = ["largest", "smallest", *(f"random {i}" for i in range(len(pool)))]
    for name, network in zip(names, [*ends, *pool], strict=True):
        ours = median_ms(partial(chain, [network]), 10)
        rows.append({"network": name, "macs": network.macs, "chain_ms": ours, "images_per_s": 1000 * batch / ours})
        rows[-1]["host_ms"] = host_ms(partial(chain, [network]), 10)
        rows[-1]["flops_share"] = 6 * network.macs * batch / (ours / 1000) / FLOPS
        print(json.dumps(rows[-1]), flush=True)
    before = count()
    times = []
    for x in space.sample(rng, 2 * draws).reshape(draws, 2, -1):
        networks = [*ends, *(space.network(row) for row in x)]
        start = time.perf_counter()
        jax.block_until_ready(chain(networks))
        times.append(1000 * (time.perf_counter() - start))
    four = [0, 1, *rng.permutation(np.arange(2, len(rows)))[:2]]
    together = median_ms(lambda: chain([[*ends, *pool][i] for i in four]), 10)
    document |= {
        "networks": rows,
        "four": [rows[i]["network"] for i in four],
        "four_ms": together,
        "steps_ms": {"median": float(np.median(times)), "p90": float(np.quantile(times, 0.9)), "draws": draws},
        "recompilations": count() - before,
        "asked": {"step_over_static_sum": 1.15, "largest_over_plain_flax": 1.05, "first_start_s": 180, "later_s": 30},
    }
    keep(document, options)
    document["plain_flax_largest_ms"] = median_ms(flax(ends[0]), 10)
    document["largest_over_plain_flax"] = rows[0]["chain_ms"] / document["plain_flax_largest_ms"]
    keep(document, options)
    # static programs: with the kernels of this package, as they are and autotuned, then with XLA's own, autotuned
    from supernets import depthwise

    gpu = jax.default_backend() == "gpu"
    ways = (("static_own_ms", False, 0), ("static_own_tuned_ms", False, 4), ("static_ms", True, 4))
    for field, grouped, level in ways[: None if gpu else 1]:
        if grouped and gpu:
            depthwise._FORWARD["gpu"], depthwise._BACKWARD["gpu"] = depthwise._grouped, depthwise._grouped_backward
            jax.clear_caches()
        for i in sorted(four, key=lambda i: rows[i]["macs"]):
            lowered, began = static([*ends, *pool][i]), time.perf_counter()
            ways_open = {"xla_gpu_autotune_level": level, "xla_gpu_enable_triton_gemm": level > 0}
            compiled = lowered.compile(compiler_options=ways_open if gpu else None)
            seconds = time.perf_counter() - began
            rows[i] |= {field: median_ms(partial(compiled, params), 10), field.replace("_ms", "_compile_s"): seconds}
            print(rows[i]["network"], field, rows[i][field], round(seconds), flush=True)
            keep(document, options)
        total = sum(rows[i][field] for i in four)
        document[f"step_over_{field.removesuffix('_ms')}_sum"] = together / total
    return document


def keep(document: dict[str, Any], options: argparse.Namespace) -> None:
    """What is known so far, should the rest not come to an end."""
    if options.out:
        Path(options.out, "step.json").write_text(json.dumps(document, indent=1, default=float))


def main() -> None:
    """Runs one part; the document goes to stdout with --json and into benchmarks/ unless --quick."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["step", *PARTS])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--method", default="sandwich", choices=("sandwich", "ofa"))
    parser.add_argument(
        "--batch",
        type=int,
        default=0,
        help="for `quality` (1024 by default) and `rank` (256), the rate in proportion, and `devices` (8192)",
    )
    parser.add_argument(
        "--split", type=int, default=0, help="`rank`: few-shot, a supernet for each choice of so many layers"
    )
    parser.add_argument("--split-epochs", type=int, default=5, help="how long each goes on from the one supernet")
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16"))
    parser.add_argument("--statics", type=int, default=4, help="random networks compiled statically")
    parser.add_argument("--table", help="latency table of proxyless or fbnet at 32 px, for `search`")
    parser.add_argument("--reference-ms", type=float)
    parser.add_argument("--search-epochs", type=int, help="half of --epochs by default, for fbnet an eighth")
    parser.add_argument("--only", default="all", choices=("find", "measure", "train", "all"), help="steps of `search`")
    parser.add_argument(
        "--share",
        default="0/1",
        help="k/n: every n-th network of `search --only train`, or few-shot supernet of `rank`, from the k-th on",
    )
    parser.add_argument(
        "--at-once", type=int, default=1, help="trainings that share the GPU: only one alone tells what one takes"
    )
    parser.add_argument("--way", choices=("exact", "fast"), help="one training of `devices`, which runs them all")
    parser.add_argument("--hosts", help="of such a training, how its processes find each other")
    parser.add_argument("--out", help="folder of results and checkpoints; continued if it is there")
    parser.add_argument("--seconds", type=float, help="stop in time, to go on with the same command")
    parser.add_argument("--pack", help="folder of files with which another machine can go on")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    import jax

    if options.part == "step":
        document = bench_step(options)
    else:
        document = run_part(options)
    if options.way:
        return
    conditions = {"device": jax.devices()[0].device_kind, "count": jax.device_count(), "jax": jax.__version__}
    conditions["xla_flags"] = os.environ["XLA_FLAGS"]
    document = {"part": options.part, "conditions": conditions, **document}
    text = json.dumps(document, indent=1, default=float)
    whole = document.get("finished", True) and (options.part != "search" or options.only in ("train", "all"))
    if not options.quick and whole and options.share == "0/1":
        name = f"search-{document['space']}" if options.part == "search" else options.part
        path = ROOT / "benchmarks" / f"supernets-{name}.json"
        path.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
