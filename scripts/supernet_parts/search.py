"""Differentiable search, against random networks and a scaled one."""

import argparse
import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from search_spaces import ChoiceSpace, Network, NetworkBuilder, get_space, make_divisible
from supernet_parts.common import One, cifar, settings, share_of
from supernet_parts.judge import Judge
from supernet_parts.stages import Stages


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
    about_it = {"method": "single_path", "epochs": epochs, "warm_epochs": max(1, epochs // 4)}
    weights = settings(options, **about_it, **({"batch_size": 32, "peak_lr": 0.1} if options.quick else {}))
    # so few epochs that the distribution gets more of the steps than in the papers; "target": compared at one latency
    steps = len(data.train_images) / weights.batch_size * (epochs - weights.warm_epochs)
    if space.name == "fbnet":
        updates = int(0.4 * steps)
        config = fbnet_config(weights, goal, updates=updates, loss="target")
        # evidence is gathered, not settled: the network is the best of many drawn, and a hundred updates at the rate
        # that settles a distribution settle most layers by the noise of the first ten
        config = replace(config, arch_share=0.4, drawn=256, arch_rate=5 / updates)
    else:
        config = replace(proxyless_config(weights, goal, updates=int(0.3 * steps), loss="target"), arch_every=3)

    def find() -> dict[str, Any]:
        began = time.monotonic()

        def tell(report: Any) -> None:
            if report.step % 200 == 1:
                print(f"{time.monotonic() - began:6.0f} s  step {report.step} of {report.steps}", flush=True)

        images, labels = data.train_images, data.train_labels
        about = {"mean": data.mean, "std": data.std, "config": config, "latency": latency}
        under_way = Differentiable(space, images, labels, folder=stages.out / "search", **about)
        found, seconds = stages.watched("search", under_way.run, tell)
        stages.forget("search")
        sure = float(np.mean([np.exp(a - a.max()).max() / np.exp(a - a.max()).sum() for a in found.alphas]))
        return {
            "arch": list(found.best),
            "expected_ms": found.expected_ms,
            "ended_at_ms": under_way.expected_ms,  # before it was brought to the latency
            "search_s": seconds,
            "mean_probability": sure,
            "logits": [a.tolist() for a in found.alphas],
        }

    result = stages("find", find) if options.only in ("find", "all") else stages.results["find"]
    if options.only == "find":
        return result
    best = space.network(result["arch"])
    stride = space.spec.stem_stride

    def equals() -> dict[str, Any]:
        """What has the found network's latency, by measurement: random networks, and a scaling."""
        from latency_tables import get_device, measure

        device, few = get_device(table.metadata["conditions"]["device"]), 1 if options.quick else 8
        near = X[np.argsort([abs(latency.of(x) - goal) for x in X])[:few]]  # whatever was found: trained only once

        def measured(networks: list[Network]) -> list[float]:
            return [found.median_ms for found in measure(networks, device, anchors=table.anchors)]

        def of_scales(scales: np.ndarray) -> np.ndarray:
            """Over the found network's, measured beside them: what drifts, drifts for all."""
            mine, *others = measured([best, *(mobilenet_v2(float(s), space.spec.image_size, stride) for s in scales)])
            return np.array(others) / mine

        found_ms, *ms = measured([best, *(space.network(x) for x in near)])
        scales = np.geomspace(0.1, 2.0, 4 if options.quick else 20)
        i = int(np.argmin(np.abs(of_scales(scales) - 1)))
        # widths are multiples of 8, so that latency is a stair of the scale: a closer look around the nearest
        fine = np.linspace(scales[max(i - 1, 0)], scales[min(i + 1, len(scales) - 1)], 4 if options.quick else 24)
        ratios = of_scales(fine)
        k = int(np.argmin(np.abs(ratios - 1)))
        return {
            "found_ms": found_ms,
            "random": [{"arch": x.tolist(), "ms": own} for x, own in zip(near, ms, strict=True)],
            "mobilenet_v2": {"scale": float(fine[k]), "ms": float(ratios[k]) * found_ms},
        }

    measured = stages("measure", equals) if options.only in ("measure", "all") else stages.results["measure"]
    if options.only == "measure":
        return measured
    judge = Judge(data, space.spec.image_size, settings(options))

    def alone(network: Network, name: str) -> dict[str, Any]:
        one = One(network)
        own = settings(options, method="scratch", arch=one.to_text((0,)), warm_epochs=0)
        params, seconds = stages.train(one, data, own, name)
        stages.forget(name)
        about = {"macs": network.macs, "seconds": seconds, "at_once": options.at_once}
        return {"accuracy": judge(params, network), **about}

    scaled = mobilenet_v2(measured["mobilenet_v2"]["scale"], space.spec.image_size, stride)
    networks = {"found": best, "mobilenet_v2": scaled}
    networks |= {f"random{i}": space.network(row["arch"]) for i, row in enumerate(measured["random"])}
    own = {name: stages(name, partial(alone, networks[name], name)) for name in share_of(options, list(networks))}
    if own.keys() != networks.keys():
        return own
    mine, mobile = own["found"], own["mobilenet_v2"]
    rows = [own[f"random{i}"] for i in range(len(measured["random"]))]
    undisturbed = [row["seconds"] for row in (mine, mobile, *rows) if row["at_once"] == 1]
    training_s = float(np.mean(undisturbed)) if undisturbed else None
    return {
        "space": space.name,
        "arch": space.to_text(result["arch"]),
        "reference_ms": goal,
        "expected_ms": result["expected_ms"],
        "found_ms": measured["found_ms"],
        "found_over_expected": measured["found_ms"] / result["expected_ms"],
        "found": mine,
        "random": [row | {"ms": drawn["ms"]} for row, drawn in zip(rows, measured["random"], strict=True)],
        "random_median": float(np.median([row["accuracy"] for row in rows])),
        "mobilenet_v2": mobile | measured["mobilenet_v2"],
        "search_s": result["search_s"],
        "training_s": training_s,  # mean of the networks that had the GPU for themselves
        "search_over_8_trainings": result["search_s"] / (8 * training_s) if training_s else None,
        "asked": {
            "found above": ["random_median", "mobilenet_v2"],
            "search_over_8_trainings": 0.2,
            "found_over_expected": [0.95, 1.05],
        },
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
