"""Kernels of any network: a study of random networks, from which models of kernels are fitted.

Profile a device once so, and networks of any space can be predicted (predictors/kernels.py).
"""

from collections.abc import Sequence

import numpy as np

from latency_tables.devices import Device
from latency_tables.measuring import Anchors
from latency_tables.profiling import Study
from search_spaces import Network
from search_spaces.zoo import RESOLUTIONS, random_network

NAME = "kernels"  # in the place of a space's name
_UNSEEN = 1 << 20  # keeps the seeds of unseen networks apart from those of measured ones


def kernel_study(
    device: Device,
    *,
    networks: int = 48,
    unseen: int = 24,
    seed: int = 0,
    resolutions: tuple[int, ...] = RESOLUTIONS,
    chosen: Sequence[Network] = (),
    reference: Anchors = Anchors(),  # noqa: B008 (frozen)
) -> Study:
    """A study of random networks; the same arguments give the same study.

    Args:
        device: Where.
        networks: How many are measured kernel by kernel and whole.
        unseen: How many others are measured whole only, to judge predictions.
        seed: Of the networks and of the order of measurements.
        resolutions: Image sizes in pixels.
        chosen: These networks instead of random ones.
        reference: Anchors of an earlier study of the same device.
    """
    if networks < 8 and not chosen:
        raise ValueError(f"networks (={networks}) must be at least 8.")
    measured = tuple(chosen) or candidates(networks, seed, resolutions)
    held_out = max(2, len(measured) // 5)
    about = {
        "space": {"name": NAME, "options": {"networks": len(measured), "unseen": unseen}},
        "resolutions": sorted({network.size for network in measured}),
        "fit": len(measured) - held_out,
        "held_out": held_out,
        "seed": seed,
    }
    return Study(measured, measured, device, about, candidates(unseen, seed + _UNSEEN, resolutions), reference)


def candidates(n: int, seed: int, resolutions: tuple[int, ...] = RESOLUTIONS) -> tuple[Network, ...]:
    """Random networks, each of a seed of its own: the first n are the same whatever n is."""
    return tuple(random_network(np.random.default_rng([seed, i]), resolutions) for i in range(n))
