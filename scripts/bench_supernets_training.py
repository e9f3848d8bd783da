"""Parts of `bench_supernets.py` that train: quality of subnets, rank fidelity, differentiable search, devices, memory.

Each part is a list of stages whose results are kept in `--out`; with `--seconds` a part stops in time, and the same
command goes on where it stopped. What it needs for that is also packed into a few small files below `--pack`, so that
another machine can go on.
"""

import argparse
import io
import json
import shutil
import signal
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces import ChoiceSpace, Gene, MBConvSpace, Network, NetworkBuilder, Space, get_space, make_divisible

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
_PIECE = 15 << 20  # bytes
_CHUNK = 1000  # images at once when testing


class One(Space):
    """A space of one network, so that it can be trained like any other."""

    def __init__(self, network: Network) -> None:
        self.name, self.options, self._network = "one", {"network": network.text}, network
        self.genes = (Gene("only", (0,)),)

    def network(self, arch: Any) -> Network:
        """The network."""
        del arch
        return self._network


class OutOfTime(Exception):
    """The part goes on when it is run again."""


class Stages:
    """Results by name in a folder, and the state of the one under way.

    Args:
        options: Of the command: `out`, `seconds`, `pack`.
        part: What is run; another part, or other numbers, has its own folder.
    """

    def __init__(self, options: argparse.Namespace, part: str) -> None:
        self.started, self.seconds = time.monotonic(), options.seconds
        self.pack = Path(options.pack) if options.pack else None
        self.out = Path(options.out)
        if self.pack and not self.out.exists() and (pieces := sorted(self.pack.glob(f"{part}.*"))):
            with tarfile.open(fileobj=io.BytesIO(b"".join(p.read_bytes() for p in pieces))) as archive:
                archive.extractall(self.out, filter="data")
        self.out.mkdir(parents=True, exist_ok=True)
        self._path, self._part = self.out / "results.json", part
        self.results: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def __call__(self, name: str, run: Callable[[], Any]) -> Any:
        """The result of a stage, run unless it is known already."""
        if name not in self.results:
            if self.over:
                raise OutOfTime(name)
            try:
                self.results[name] = run()
            except KeyboardInterrupt:
                if self.over:
                    raise OutOfTime(name) from None
                raise
            self._path.write_text(json.dumps(self.results, default=float))
            print(
                f"{time.monotonic() - self.started:6.0f} s  {name}: {json.dumps(self.results[name])[:300]}", flush=True
            )
        return self.results[name]

    @property
    def over(self) -> bool:
        """Whether it is time to stop."""
        return self.seconds is not None and time.monotonic() - self.started > self.seconds

    def train(self, space: Space, data: Any, config: Any, name: str, **more: Any) -> tuple[dict[str, Any], float]:
        """Trains, or goes on; weights, and the seconds that all parts of it took."""
        from supernets import train

        clock = self.out / f"{name}.seconds"
        before = float(clock.read_text()) if clock.exists() else 0.0
        began = time.monotonic()

        tell = more.pop("on_step", lambda report: None)

        def watch(report: Any) -> None:
            tell(report)
            if self.over:
                signal.raise_signal(signal.SIGINT)  # saves, then stops
            if report.note:
                print(report.note, flush=True)

        images, labels = data.train_images, data.train_labels
        try:
            params = train(
                space, images, labels, mean=data.mean, std=data.std, config=config, folder=self.out / name,
                on_step=watch, **more,
            )  # fmt: skip
        finally:
            seconds = before + time.monotonic() - began
            clock.write_text(str(seconds))
        return params, seconds

    def kept(self, name: str, make: Callable[[], tuple[dict[str, Any], float]]) -> tuple[dict[str, Any], float]:
        """Weights that later stages start from, as a file of their own; the checkpoints go."""
        import jax.numpy as jnp

        path = self.out / f"{name}.npz"
        if not path.exists():
            params, _ = make()
            arrays: dict[str, Any] = {key: np.asarray(value) for key, value in params.items()}
            np.savez(path, **arrays)
            self.forget(name)
        with np.load(path) as file:
            return {key: jnp.asarray(file[key]) for key in file.files}, float(
                (self.out / f"{name}.seconds").read_text()
            )

    def forget(self, name: str) -> None:
        """Takes the checkpoints of a stage away."""
        shutil.rmtree(self.out / name, ignore_errors=True)

    def packed(self) -> None:
        """Writes what another machine needs to go on, in pieces of 15 MiB."""
        if self.pack is None:
            return
        self.pack.mkdir(parents=True, exist_ok=True)
        for old in self.pack.glob(f"{self._part}.*"):
            old.unlink()
        for folder in self.out.iterdir():  # only the newest checkpoint of each
            for step in sorted((p for p in folder.glob("[0-9]*") if p.is_dir()), key=lambda p: int(p.name))[:-1]:
                shutil.rmtree(step)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(self.out, arcname=".")
        whole = buffer.getvalue()
        for i in range(0, len(whole), _PIECE):
            (self.pack / f"{self._part}.{i // _PIECE:02}").write_bytes(whole[i : i + _PIECE])


class Judge:
    """Test accuracy of networks; the images are prepared once and stay on the device."""

    def __init__(self, data: Any, size: int, *, calibration: int = 2000, half: bool = False) -> None:
        self._data, self._size, self._half, self._calibration = data, size, half, calibration

    @cached_property
    def _images(self) -> tuple[Any, list[Any], list[Any]]:
        import jax.numpy as jnp

        from supernets.images import prepare

        data = self._data
        chosen = np.random.default_rng(0).permutation(len(data.train_images))[: self._calibration]

        def ready(some: np.ndarray) -> Any:
            x = prepare(some, data.mean, data.std, size=self._size)
            return x.astype(jnp.bfloat16) if self._half else x

        n = max(_CHUNK, len(data.test_labels) // _CHUNK * _CHUNK)
        parts = [slice(i, i + _CHUNK) for i in range(0, min(n, len(data.test_labels)), _CHUNK)]
        tests = [ready(data.test_images[part]) for part in parts]
        return ready(data.train_images[chosen]), tests, [jnp.asarray(data.test_labels[part]) for part in parts]

    def __call__(self, params: Any, network: Network) -> float:
        """Percent of the test images, batch norm recalibrated on training images."""
        from supernets.calibrate import network_moments
        from supernets.chain import forward

        calibration, tests, labels = self._images
        stats = network_moments(params, network, calibration, 500)
        right = sum(
            (forward(params, network, x, stats).argmax(axis=1) == y).sum() for x, y in zip(tests, labels, strict=True)
        )
        return 100 * float(right) / sum(map(len, labels))


def cifar(options: argparse.Namespace) -> Any:
    """CIFAR-10-JPEG, or a little of it for a toy run."""
    from supernets.data import load_dataset

    data = load_dataset(SHARED / "data" / "cifar10_jpeg")
    if options.quick:
        data = replace(data, train_images=data.train_images[:600], train_labels=data.train_labels[:600])
        data = replace(data, test_images=data.test_images[:500], test_labels=data.test_labels[:500])
    return data


def settings(options: argparse.Namespace, **more: Any) -> Any:
    """How everything here is trained."""
    from supernets import TrainConfig

    if options.quick:
        base = TrainConfig(epochs=1, warm_epochs=0, batch_size=64, random_subnets=1)
    else:
        base = TrainConfig(
            epochs=options.epochs,
            warm_epochs=options.epochs // 6,
            batch_size=512,
            peak_lr=0.4,
            shift=4,
            weight_decay=2e-4,
            precision=options.precision,
        )
    return replace(base, **{"checkpoint_seconds": 3600.0} | more)


def ofa_space(options: argparse.Namespace, data: Any) -> Space:
    """Once-for-All's space at the size of the data; two narrow stages of it for a toy run."""
    if not options.quick:
        return get_space("ofa_mbv3", num_classes=10, resolutions=data.image_size, stem_stride=1)
    full = get_space("ofa_mbv3", num_classes=10, resolutions=data.image_size, stem_stride=2, width=0.1)
    assert isinstance(full, MBConvSpace)
    stages = tuple(replace(stage, depths=(1, 2), kernels=(3, 5)) for stage in full.spec.stages[:2])
    return MBConvSpace("toy", replace(full.spec, stages=stages), {})


def quality(options: argparse.Namespace, stages: Stages) -> dict[str, Any]:
    """Smallest, median and largest subnets: inherited, fine-tuned for a tenth of the epochs, and from scratch."""
    from supernets.extraction import inherited

    data = cifar(options)
    space, config = ofa_space(options, data), settings(options, method=options.method)
    if options.method == "sandwich":  # the gradients of four networks are summed: BigNAS's 0.1 for 256 images
        config = replace(config, peak_lr=0.2)
    judge = Judge(data, data.image_size)
    X = space.sample(np.random.default_rng(0), 201)
    median = X[np.argsort([space.network(x).macs for x in X])[100]]
    chosen = {"smallest": 0 * median, "median": median, "largest": space.cardinality - 1}

    def supernet() -> tuple[dict[str, Any], float]:
        return stages.kept("supernet", lambda: stages.train(space, data, config, "supernet"))

    def inherits(network: Network) -> float:
        return judge(supernet()[0], network)

    seconds = stages("training_s", lambda: supernet()[1])
    rows: list[dict[str, Any]] = []
    for name, x in chosen.items():
        network, arch = space.network(x), space.to_text(x)
        alone = settings(options, method="scratch", arch=arch, warm_epochs=0)
        tuned = replace(alone, epochs=max(1, alone.epochs // 10), peak_lr=alone.peak_lr / 10)

        def fine_tuned(network: Network = network, tuned: Any = tuned, name: str = name) -> float:
            arrays = {key: np.asarray(value) for key, value in supernet()[0].items()}
            params, _ = stages.train(space, data, tuned, f"{name}-tuned", start=inherited(arrays, network))
            stages.forget(f"{name}-tuned")
            return judge(params, network)

        def scratch(network: Network = network, alone: Any = alone, name: str = name) -> float:
            params, _ = stages.train(space, data, alone, f"{name}-scratch")
            stages.forget(f"{name}-scratch")
            return judge(params, network)

        rows.append({"network": name, "macs": network.macs, "arch": arch})
        rows[-1]["inherited"] = stages(f"{name} inherited", partial(inherits, network))
        rows[-1]["fine_tuned"] = stages(f"{name} fine-tuned", fine_tuned)
        rows[-1]["run"] = scratch
    (stages.out / "supernet.npz").unlink(missing_ok=True)  # the rest needs it no more
    for row in rows:
        row["scratch"] = stages(f"{row['network']} scratch", row.pop("run"))
    worst = max(row["scratch"] - row["inherited"] for row in rows)
    return {
        "epochs": config.epochs,
        "training_s": seconds,
        "rows": rows,
        "largest_gap": worst,
        "asked": {"largest_gap": 1.0, "training_s": 1500},
    }


def rank(options: argparse.Namespace, stages: Stages) -> dict[str, Any]:
    """Kendall tau between inherited and published accuracy over 300 random rows of NAS-Bench-Macro."""
    import pyarrow.parquet as pq
    from scipy.stats import kendalltau

    data, space = cifar(options), get_space("nasbench_macro")
    # every block exactly once a step (FairNAS): three paths, one for each of a layer's choices
    fair = {"method": "single_path", "warm_epochs": 0, "random_subnets": 3, "sampling": "fair"}
    config = settings(options, **fair, **({} if options.quick else {"batch_size": 256, "peak_lr": 0.2}))
    params, seconds = stages.kept("macro", lambda: stages.train(space, data, config, "macro"))
    table = pq.read_table(SHARED / "bench" / "nasbench_macro.parquet").to_pydict()
    rows = np.random.default_rng(0).choice(len(table["arch"]), 4 if options.quick else 300, replace=False)
    judge = Judge(data, 32, calibration=600 if options.quick else 5000)

    def inherited() -> list[float]:
        return [judge(params, space.network(space.parse(table["arch"][i]))) for i in rows]

    found = stages("inherited", inherited)
    truth = [table["mean_acc"][i] for i in rows]
    others = {name: [table[name][i] for i in rows] for name in ("flops", "params", "acc1")}
    return {
        "tau": float(kendalltau(found, truth)[0]),
        "rows": len(rows),
        "training_s": seconds,
        "epochs": config.epochs,
        "inherited_range": [min(found), max(found)],
        "tau_of": {name: float(kendalltau(values, truth)[0]) for name, values in others.items()},
        "asked": {"tau": 0.80},
    }


def mobilenet_v2(scale: float, size: int, stem_stride: int) -> Network:
    """MobileNetV2 with all widths scaled; a stem of stride 1 for small pictures."""
    b = NetworkBuilder("mobilenet_v2", in_channels=3, size=size)
    stem = make_divisible(32 * scale)
    x = b.conv("stem", b.image, stem, kernel=3, stride=stem_stride, activation="relu6")
    rows = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for s, (t, c, n, stride) in enumerate(rows, 1):
        for i in range(n):
            step, hidden = stride if i == 0 else 1, b.shape(x)[0] * t
            x = b.mbconv(f"stage{s}.block{i + 1}", x, make_divisible(c * scale), hidden=hidden, kernel=3, stride=step)
    x = b.conv("final_expand", x, make_divisible(1280 * max(1.0, scale)), activation="relu6")
    b.linear("classifier", b.global_pool("pool", x), 10)
    return b.build()


def search(options: argparse.Namespace, stages: Stages) -> dict[str, Any]:
    """A search at a latency, retrained, against 8 random networks and scaled MobileNetV2 of the same measured latency.

    Searching and training want a GPU, measuring the device of the table: `--only find`, `--only measure` and
    `--only train` one after the other on the same `--out`, or all at once where both are one machine.
    """
    from latency_tables import LatencyTable
    from supernets.architecture import latency_model
    from supernets.differentiable import Differentiable
    from supernets.search_config import fbnet_config, proxyless_config

    table, data = LatencyTable.read(options.table), cifar(options)
    about = table.metadata["space"]
    space = get_space(about["name"], **about["options"])
    assert isinstance(space, ChoiceSpace), "the table must be one of proxyless or fbnet"
    latency = latency_model(space, table.costs, table.constant_ms)
    X = space.sample(np.random.default_rng(1), 4000)
    goal = options.reference_ms or float(np.median([latency.of(x) for x in X]))
    parts = 8 if space.name == "fbnet" else 2  # a step of FBNet runs all nine blocks, one of ProxylessNAS one
    epochs = 3 if options.quick else max(3, options.search_epochs or options.epochs // parts)
    about_it = {"method": "single_path", "epochs": epochs, "warm_epochs": max(1, epochs // 4), "peak_lr": 0.1}
    weights = settings(options, **about_it, batch_size=32 if options.quick else 256)
    updates = epochs * len(data.train_images) // weights.batch_size // 5
    make = fbnet_config if space.name == "fbnet" else proxyless_config
    config = make(weights, goal, updates=updates)

    def find() -> dict[str, Any]:
        began = time.monotonic()
        found = Differentiable(
            space,
            data.train_images,
            data.train_labels,
            mean=data.mean,
            std=data.std,
            config=config,
            latency=latency,
            folder=stages.out / "search",
        ).run()
        stages.forget("search")
        best = [int(k) for k in found.best()]
        sure = float(np.mean([np.exp(a - a.max()).max() / np.exp(a - a.max()).sum() for a in found.alphas]))
        seconds = time.monotonic() - began
        return {"arch": best, "expected_ms": found.expected_ms, "search_s": seconds, "mean_probability": sure}

    result = stages("find", find) if options.only in ("find", "all") else stages.results["find"]
    if options.only == "find":
        return result
    best = space.network(result["arch"])
    stride = space.spec.stem_stride

    def equals() -> dict[str, Any]:
        """What has the found network's latency, by measurement: random networks, and a scaling."""
        from latency_tables import get_device, measure

        device, few = get_device(table.metadata["conditions"]["device"]), 1 if options.quick else 8
        near = X[np.argsort([abs(latency.of(x) - latency.of(result["arch"])) for x in X])[: 2 * few]]
        scales = np.geomspace(0.1, 2.0, 4 if options.quick else 40)
        sizes = [mobilenet_v2(float(s), space.spec.image_size, stride) for s in scales]
        networks = [best, *(space.network(x) for x in near), *sizes]
        ms = [found.median_ms for found in measure(networks, device, anchors=table.anchors)]
        random = sorted(range(len(near)), key=lambda i: abs(ms[1 + i] - ms[0]))[:few]
        under = [i for i in range(len(sizes)) if ms[1 + len(near) + i] <= ms[0]] or [0]
        return {
            "found_ms": ms[0],
            "random": [{"arch": near[i].tolist(), "ms": ms[1 + i]} for i in random],
            "mobilenet_v2": {"scale": float(scales[under[-1]]), "ms": ms[1 + len(near) + under[-1]]},
        }

    measured = stages("measure", equals) if options.only in ("measure", "all") else stages.results["measure"]
    if options.only == "measure":
        return measured
    judge = Judge(data, space.spec.image_size)

    def alone(network: Network, name: str) -> dict[str, Any]:
        one = One(network)
        own = settings(options, method="scratch", arch=one.to_text((0,)), warm_epochs=0)
        params, seconds = stages.train(one, data, own, name)
        stages.forget(name)
        return {"accuracy": judge(params, network), "macs": network.macs, "seconds": seconds}

    mine = stages("found", partial(alone, best, "found"))
    rows = [
        stages(f"random{i}", partial(alone, space.network(row["arch"]), f"random{i}"))
        for i, row in enumerate(measured["random"])
    ]
    scaled = mobilenet_v2(measured["mobilenet_v2"]["scale"], space.spec.image_size, stride)
    mobile = stages("mobilenet_v2", partial(alone, scaled, "mobilenet_v2"))
    spent = sum(row["seconds"] for row in rows)
    return {
        "space": space.name,
        "arch": space.to_text(result["arch"]),
        "reference_ms": goal,
        "expected_ms": result["expected_ms"],
        "found_ms": measured["found_ms"],
        "found_over_expected": measured["found_ms"] / result["expected_ms"],
        "found": mine,
        "random": [row | {"ms": own["ms"]} for row, own in zip(rows, measured["random"], strict=True)],
        "random_median": float(np.median([row["accuracy"] for row in rows])),
        "mobilenet_v2": mobile | measured["mobilenet_v2"],
        "search_s": result["search_s"],
        "search_over_8_trainings": result["search_s"] / spent * len(rows) / 8,
        "asked": {
            "found above": ["random_median", "mobilenet_v2"],
            "search_over_8_trainings": 0.2,
            "found_over_expected": [0.95, 1.05],
        },
    }


def devices(options: argparse.Namespace, stages: Stages) -> dict[str, Any]:
    """Losses in single precision, then images a second, of the same training on one device and on two."""
    import jax

    data = cifar(options)
    space = ofa_space(options, data)

    def run(count: int, **more: Any) -> dict[str, Any]:
        base = settings(options, warm_epochs=0, checkpoint_seconds=1e9)
        config = replace(base, batch_size=64 if options.quick else 2048, **more)
        ticks, losses = [], []

        def note(report: Any) -> None:
            ticks.append(time.perf_counter())
            losses.append(report.last)

        stages.forget("devices")
        stages.train(space, data, config, "devices", on_step=note, devices=count)
        half = len(ticks) // 2
        speed = config.batch_size * (len(ticks) - 1 - half) / (ticks[-1] - ticks[half])
        return {"devices": count, "images_per_s": speed, "losses": losses}

    document: dict[str, Any] = {"asked": {"speed_up": 1.85, "largest_difference": 1e-3}}
    counts = (1, 2) if jax.device_count() > 1 else (1,)
    with jax.default_matmul_precision("highest"):
        exact = [stages(f"{n} exact", partial(run, n, epochs=1, precision="fp32", random_subnets=0)) for n in counts]
    fast = [stages(f"{n} fast", partial(run, n, epochs=1 if options.quick else 4)) for n in counts]
    document["rows"] = [{key: row[key] for key in ("devices", "images_per_s")} for row in fast]
    if len(counts) == 2:
        gap = np.abs(np.array(exact[0]["losses"]) - exact[1]["losses"])
        document |= {
            "speed_up": fast[1]["images_per_s"] / fast[0]["images_per_s"],
            "largest_difference": float(gap.max()),
            "steps_compared": len(gap),
        }
    return document


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

    from supernets import mixed
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
        owned = mixed.by_operator(params)
        x = mixed._run(p.first.weights(params, owned), images, p.first.operators, {})
        for layer, share in zip(p.layers, m, strict=True):
            outputs = [x if k is None else mixed._run(k.weights(params, owned), x, k.operators, {}) for k in layer]
            x = sum(s * o for s, o in zip(share, outputs, strict=True))
        logits = mixed._run(p.head.weights(params, owned), x, p.head.operators, {}).reshape(batch, -1)
        return -(target * jax.nn.log_softmax(logits)).sum(axis=1).mean()

    whole = jax.jit(jax.grad(at_once)).lower([jnp.asarray(s, jnp.float32) for s in shares]).compile()
    return {
        "candidates": count,
        "weights_bytes": sum(value.nbytes for value in params.values()),
        "one_path_bytes": peak_bytes(lambda: gradient(params, zeros, space.network(path), images, target, ones).loss),
        "proxyless_bytes": peak_bytes(lambda: mixed.gates(params, p, path, every, images, target).loss),
        "fbnet_bytes": peak_bytes(
            lambda: mixed.mixture(params, jax.tree.map(jnp.zeros_like, params), p, shares, images, target).loss
        ),
        "all_at_once_bytes": int(getattr(whole.memory_analysis(), "temp_size_in_bytes", 0)),
    }


def peak_bytes(run: Callable[[], Any]) -> int:
    """Most bytes of arrays that live on the device between the programs of a call, beyond those from before it."""
    import jax

    from supernets import chain, mixed

    before, peak = sum(a.nbytes for a in jax.live_arrays()), [0]
    programs = {
        (module, name): getattr(module, name)
        for module in (chain, mixed)
        for name in (
            "_first_forward",
            "_forward",
            "_backward",
            "_apply",
            "_gate",
            "_input_gradient",
            "_pull",
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
        for (module, name), inner in programs.items():
            setattr(module, name, watched(inner))
        jax.block_until_ready(run())
    finally:
        for (module, name), inner in programs.items():
            setattr(module, name, inner)
    return peak[0]


PARTS = {"quality": quality, "rank": rank, "search": search, "devices": devices, "memory": memory}


def run_part(options: argparse.Namespace) -> dict[str, Any]:
    """Runs a part, or as much of it as there is time for."""
    options.out = options.out or tempfile.mkdtemp()
    stages = Stages(options, options.part)
    try:
        return PARTS[options.part](options, stages)
    except OutOfTime as stopped:
        return {"finished": False, "at": str(stopped), "results": stages.results, "out": str(stages.out)}
    finally:
        stages.packed()
