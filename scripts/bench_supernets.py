"""Supernets on an accelerator: speed of a step, quality of subnets, rank fidelity, differentiable search, devices.

    python scripts/bench_supernets.py step                       # the chain against static programs; 15 min on a GPU
    python scripts/bench_supernets.py quality --epochs 60        # inherited, fine-tuned, from scratch
    python scripts/bench_supernets.py rank --epochs 60           # Kendall tau on NAS-Bench-Macro
    python scripts/bench_supernets.py search --table T.parquet   # ProxylessNAS and FBNet against random networks
    python scripts/bench_supernets.py devices                    # two devices against one
    python scripts/bench_supernets.py step --quick               # any part at a toy size, on a CPU too

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
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SHARED = ROOT.parent / "shared"
# a first start is one with an empty folder here, a later one finds programs and chosen algorithms in it
CACHE = Path(os.environ.get("NAS_BENCH_CACHE", tempfile.gettempdir())) / "nas-bench-cache"
(CACHE / "autotune").mkdir(parents=True, exist_ok=True)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "jax"))
os.environ.setdefault("XLA_FLAGS", f"--xla_gpu_per_fusion_autotune_cache_dir={CACHE / 'autotune'}")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import numpy as np  # noqa: E402

from search_spaces import ChoiceSpace, Gene, MBConvSpace, Network, NetworkBuilder, Space, get_space, make_divisible  # noqa: E402

BANDWIDTH, FLOPS = 4.8e12, 989e12  # H200: bytes/s, dense bf16 FLOP/s


class One(Space):
    """A space of one network, so that it can be trained like any other."""

    def __init__(self, network: Network) -> None:
        self.name, self.options, self._network = "one", {"network": network.text}, network
        self.genes = (Gene("only", (0,)),)

    def network(self, arch: Any) -> Network:
        """The network."""
        del arch
        return self._network


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


def bench_step(options: argparse.Namespace) -> dict[str, Any]:
    """Sandwich steps of the chain against static programs of the same networks, and a plain Flax network."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from supernets import NetworkModule, init_params
    from supernets.chain import _run, gradient, prepare, programs

    size, batch, draws, statics = (16, 8, 3, 1) if options.quick else (32, 1024, 100, options.statics)
    width = 0.1 if options.quick else 1.0
    space = get_space("ofa_mbv3", width=width, num_classes=10, resolutions=size, stem_stride=2 if options.quick else 1)
    assert isinstance(space, MBConvSpace)
    dtype = jnp.float32 if options.quick else jnp.bfloat16
    params = init_params(space, 0)
    start = time.perf_counter()
    prepare(space, params, batch, dtype=dtype)
    document: dict[str, Any] = {"first_start_s": time.perf_counter() - start, "batch": batch, "size": size}
    images = jax.random.normal(jax.random.key(0), (batch, size, size, 3), dtype)
    target, dropout = jnp.full((batch, 10), 0.1), jnp.ones((batch, space.spec.feature_channels))
    zeros = jax.jit(lambda p: jax.tree.map(jnp.zeros_like, p))

    def chain(networks: list[Network]) -> Any:
        total = zeros(params)
        for network in networks:
            total = gradient(params, total, network, images, target, dropout).total
        return total

    rng = np.random.default_rng(0)
    ends = [space.network(space.cardinality - 1), space.network(0 * space.cardinality)]
    pool = [space.network(x) for x in space.sample(rng, statics)]

    def static(network: Network) -> Callable[[], Any]:
        def loss(weights: Any) -> Any:
            logits = _run(weights, images, network.operators, {}).reshape(batch, -1).astype(jnp.float32)
            return -(target * jax.nn.log_softmax(logits)).sum(axis=1).mean()

        run = jax.jit(lambda p: jax.grad(loss)(p))
        return lambda: run(params)

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
        began = time.perf_counter()
        own = median_ms(static(network), 10)
        compiled = time.perf_counter() - began
        ours = median_ms(partial(chain, [network]), 10)
        rows.append({"network": name, "macs": network.macs, "chain_ms": ours, "static_ms": own, "ratio": ours / own})
        rows[-1] |= {"images_per_s": 1000 * batch / ours, "static_first_s": compiled}
        rows[-1]["flops_share"] = 6 * network.macs * batch / (ours / 1000) / FLOPS
        print(f"{name:10} chain {ours:8.2f} ms  static {own:8.2f} ms  ratio {ours / own:.3f}", flush=True)
    plain = median_ms(flax(ends[0]), 10)
    before = programs()
    times = []
    for x in space.sample(rng, 2 * draws).reshape(draws, 2, -1):
        networks = [*ends, *(space.network(row) for row in x)]
        start = time.perf_counter()
        jax.block_until_ready(chain(networks))
        times.append(1000 * (time.perf_counter() - start))
    four = [0, 1, *rng.permutation(np.arange(2, len(rows)))[:2]]
    together = median_ms(lambda: chain([[*ends, *pool][i] for i in four]), 10)
    total = sum(rows[i]["static_ms"] for i in four)
    return document | {
        "networks": rows,
        "plain_flax_largest_ms": plain,
        "largest_over_plain_flax": rows[0]["chain_ms"] / plain,
        "step_over_static_sum": together / total,
        "steps_ms": {"median": float(np.median(times)), "p90": float(np.quantile(times, 0.9)), "draws": draws},
        "recompilations": programs() - before,
        "asked": {"step_over_static_sum": 1.15, "largest_over_plain_flax": 1.05, "first_start_s": 180, "later_s": 30},
    }


def cifar(quick: bool) -> Any:
    """CIFAR-10-JPEG, or a little of the embedded data."""
    from supernets.data import load_dataset

    return load_dataset() if quick else load_dataset(SHARED / "data" / "cifar10_jpeg")


def fit(space: Space, data: Any, config: Any, folder: Path, **more: Any) -> dict[str, Any]:
    """Trains on a data set; the weights."""
    from supernets import train

    n = 512 if len(data.train_images) < 10_000 else None  # the toy run
    images, labels = data.train_images[:n], data.train_labels[:n]
    return train(space, images, labels, mean=data.mean, std=data.std, config=config, folder=folder, **more)


def test_accuracy(params: Any, network: Network, data: Any) -> float:
    """Percent of the test images, batch norm recalibrated on 2,000 training images."""
    import jax.numpy as jnp

    from supernets.calibrate import network_moments
    from supernets.chain import forward
    from supernets.images import prepare

    def images(some: np.ndarray) -> Any:
        return prepare(some, data.mean, data.std, size=network.size)

    stats = network_moments(params, network, images(data.train_images[:2000]), 200)
    right, n = 0, len(data.test_labels) // 500 * 500
    for i in range(0, n, 500):
        logits = forward(params, network, jnp.asarray(images(data.test_images[i : i + 500])), stats)
        right += int((np.asarray(logits).argmax(axis=1) == data.test_labels[i : i + 500]).sum())
    return 100 * right / n


def settings(options: argparse.Namespace, **more: Any) -> Any:
    """How everything here is trained."""
    from supernets import TrainConfig

    if options.quick:
        base = TrainConfig(epochs=1, warm_epochs=0, batch_size=64, random_subnets=1)
    else:
        epochs = options.epochs
        base = TrainConfig(
            epochs=epochs, warm_epochs=epochs // 6, batch_size=512, peak_lr=0.4, shift=4, precision="bf16"
        )
    return replace(base, **more)


def bench_quality(options: argparse.Namespace) -> dict[str, Any]:
    """Smallest, median and largest subnets: inherited, fine-tuned for a tenth of the epochs, and from scratch."""
    data, out = cifar(options.quick), Path(options.out or tempfile.mkdtemp())
    size, width = data.image_size, 0.1 if options.quick else 1.0
    stride = 2 if options.quick else 1
    space = get_space(
        "ofa_mbv3", width=width, num_classes=10, resolutions=size, stem_stride=stride, in_channels=data.channels
    )
    config = settings(options, method=options.method)
    start = time.perf_counter()
    params = fit(space, data, config, out / "supernet")
    document: dict[str, Any] = {"training_s": time.perf_counter() - start, "epochs": config.epochs, "rows": []}
    X = space.sample(np.random.default_rng(0), 201)
    median = X[np.argsort([space.network(x).macs for x in X])[100]]
    from supernets.extraction import inherited

    arrays = {name: np.asarray(value) for name, value in params.items()}
    for name, x in (("smallest", 0 * median), ("median", median), ("largest", space.cardinality - 1)):
        network, arch = space.network(x), space.to_text(x)
        alone = settings(options, method="scratch", arch=arch, warm_epochs=0)
        tuned = replace(alone, epochs=max(1, alone.epochs // 10), peak_lr=alone.peak_lr / 10)
        row: dict[str, Any] = {"network": name, "macs": network.macs, "arch": arch}
        row["inherited"] = test_accuracy(params, network, data)
        row["fine_tuned"] = test_accuracy(
            fit(space, data, tuned, out / f"{name}-tuned", start=inherited(arrays, network)), network, data
        )
        row["scratch"] = test_accuracy(fit(space, data, alone, out / f"{name}-scratch"), network, data)
        print(json.dumps(row), flush=True)
        document["rows"].append(row)
    return document | {"asked": {"inherited at least scratch minus": 1.0, "training_s": 1500}}


def bench_rank(options: argparse.Namespace) -> dict[str, Any]:
    """Kendall tau between inherited and published accuracy over 300 random rows of NAS-Bench-Macro."""
    import pyarrow.parquet as pq
    from scipy.stats import kendalltau

    data, out = cifar(False), Path(options.out or tempfile.mkdtemp())
    if options.quick:
        data = replace(data, train_images=data.train_images[:600], train_labels=data.train_labels[:600])
        data = replace(data, test_images=data.test_images[:500], test_labels=data.test_labels[:500])
    space = get_space("nasbench_macro")
    config = settings(options, method="single_path", warm_epochs=0, random_subnets=1 if options.quick else 2)
    start = time.perf_counter()
    params = fit(space, data, config, out / "macro")
    seconds = time.perf_counter() - start
    table = pq.read_table(SHARED / "bench" / "nasbench_macro.parquet").to_pydict()
    accuracy = next(name for name in table if "acc" in name.lower() and "std" not in name.lower())
    rows = np.random.default_rng(0).choice(len(table["arch"]), 4 if options.quick else 300, replace=False)
    found = [test_accuracy(params, space.network(space.parse(table["arch"][i])), data) for i in rows]
    tau = kendalltau(found, [np.mean(table[accuracy][i]) for i in rows])[0]
    return {"tau": float(tau), "rows": len(rows), "training_s": seconds, "column": accuracy, "asked": {"tau": 0.80}}


def mobilenet_v2(scale: float, size: int, channels: int) -> Network:
    """MobileNetV2 with all widths scaled, for small pictures (stem of stride 1)."""
    b = NetworkBuilder("mobilenet_v2", in_channels=channels, size=size)
    x = b.conv("stem", b.image, make_divisible(32 * scale), kernel=3, activation="relu6")
    rows = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for s, (t, c, n, stride) in enumerate(rows, 1):
        for i in range(n):
            step, hidden = stride if i == 0 else 1, b.shape(x)[0] * t
            x = b.mbconv(f"stage{s}.block{i + 1}", x, make_divisible(c * scale), hidden=hidden, kernel=3, stride=step)
    x = b.global_pool("pool", b.conv("final_expand", x, make_divisible(1280 * max(1.0, scale)), activation="relu6"))
    b.linear("classifier", x, 10)
    return b.build()


def bench_search(options: argparse.Namespace) -> dict[str, Any]:
    """A search at a latency, retrained, against 8 random networks of that latency and scaled MobileNetV2."""
    from latency_tables import LatencyTable
    from supernets.architecture import latency_model
    from supernets.differentiable import Differentiable
    from supernets.search_config import SearchConfig, fbnet_config

    table, data = LatencyTable.read(options.table), cifar(options.quick)
    about = table.metadata["space"]
    space = get_space(about["name"], **about["options"])
    assert isinstance(space, ChoiceSpace), "the table must be one of proxyless or fbnet"
    latency, out = latency_model(space, table.costs, table.constant_ms), Path(options.out or tempfile.mkdtemp())
    X = space.sample(np.random.default_rng(1), 4000)
    predicted = np.array([latency.of(x) for x in X])
    goal = options.reference_ms or float(np.median(predicted))
    weights = settings(options, method="single_path")
    config = fbnet_config(weights, goal) if space.name == "fbnet" else SearchConfig("proxyless", weights, goal)
    start = time.perf_counter()
    search = Differentiable(
        space,
        data.train_images,
        data.train_labels,
        mean=data.mean,
        std=data.std,
        config=config,
        latency=latency,
        folder=out / "search",
    )
    found = search.run()
    seconds, best = time.perf_counter() - start, found.best()

    def alone(network: Network, name: str) -> dict[str, Any]:
        began, one = time.perf_counter(), One(network)
        own = settings(options, method="scratch", arch=one.to_text((0,)), warm_epochs=0)
        accuracy = test_accuracy(fit(one, data, own, out / name), network, data)
        row = {"network": name, "accuracy": accuracy, "macs": network.macs, "seconds": time.perf_counter() - began}
        print(json.dumps(row), flush=True)
        return row

    mine = alone(space.network(best), "found") | {"ms": latency.of(best)}
    near = X[np.argsort(np.abs(predicted - latency.of(best)))[: 1 if options.quick else 8]]
    random = [alone(space.network(x), f"random{i}") | {"ms": latency.of(x)} for i, x in enumerate(near)]
    sizes = [0.5] if options.quick else [0.35, 0.5, 0.75, 1.0, 1.4]
    scaled = [alone(mobilenet_v2(s, space.spec.image_size, data.channels), f"mobilenet_v2 {s}") for s in sizes]
    spent = sum(row["seconds"] for row in random)
    return {
        "space": space.name,
        "arch": space.to_text(best),
        "found": mine,
        "expected_ms": found.expected_ms,
        "random": random,
        "random_median": float(np.median([row["accuracy"] for row in random])),
        "mobilenet_v2": scaled,
        "search_s": seconds,
        "search_over_8_trainings": seconds / spent,
        "asked": {"found above": "random_median", "search_over_8_trainings": 0.2},
    }


def bench_devices(options: argparse.Namespace) -> dict[str, Any]:
    """Images a second and losses of the same training on one device and on two."""
    import jax

    data, rows = cifar(options.quick), []
    space = get_space(
        "ofa_mbv3",
        width=0.1 if options.quick else 1.0,
        num_classes=10,
        resolutions=data.image_size,
        stem_stride=2 if options.quick else 1,
        in_channels=data.channels,
    )
    for count in (1, 2) if jax.device_count() > 1 else (1,):
        config = settings(options, epochs=1 if options.quick else 4, warm_epochs=0)
        config = replace(config, batch_size=64 if options.quick else 2048)
        ticks: list[tuple[float, float]] = []
        with tempfile.TemporaryDirectory() as folder:

            def note(report: Any, ticks: list[tuple[float, float]] = ticks) -> None:
                ticks.append((time.perf_counter(), report.loss))

            fit(space, data, config, Path(folder), on_step=note, devices=count)
        half = len(ticks) // 2
        speed = config.batch_size * (len(ticks) - 1 - half) / (ticks[-1][0] - ticks[half][0])
        rows.append({"devices": count, "images_per_s": speed, "losses": [loss for _, loss in ticks]})
        print(count, "devices:", round(speed), "images/s", flush=True)
    document: dict[str, Any] = {"rows": rows, "asked": {"speed_up": 1.85, "largest_difference": 1e-3}}
    if len(rows) == 2:
        difference = np.abs(np.array(rows[0]["losses"]) - rows[1]["losses"])
        document |= {
            "speed_up": rows[1]["images_per_s"] / rows[0]["images_per_s"],
            "largest_difference": float(difference.max()),
        }
    return document


PARTS = {"step": bench_step, "quality": bench_quality, "rank": bench_rank, "search": bench_search}
PARTS["devices"] = bench_devices


def main() -> None:
    """Runs one part; the document goes to stdout with --json and into benchmarks/ unless --quick."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--method", default="sandwich", choices=("sandwich", "ofa"))
    parser.add_argument("--statics", type=int, default=4, help="random networks compiled statically")
    parser.add_argument("--table", help="latency table of proxyless or fbnet at 32 px, for `search`")
    parser.add_argument("--reference-ms", type=float)
    parser.add_argument("--out", help="folder of checkpoints; continued if it is there")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    import jax

    document = PARTS[options.part](options)
    conditions = {"device": jax.devices()[0].device_kind, "count": jax.device_count(), "jax": jax.__version__}
    conditions["xla_flags"] = os.environ["XLA_FLAGS"]
    document = {"part": options.part, "conditions": conditions, **document}
    text = json.dumps(document, indent=1, default=float)
    if not options.quick:
        path = ROOT / "benchmarks" / f"supernets-{options.part}.json"
        path.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
