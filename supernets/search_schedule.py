"""The order of a differentiable search's steps, and the rate of its weights."""

from typing import Literal, NamedTuple

import optax

from supernets.search_config import SearchConfig


class Event(NamedTuple):
    """A step: what it trains, its epoch, and how many of its kind came before."""

    kind: Literal["weight", "arch"]
    epoch: int
    before: int


def events(config: SearchConfig, weights: int, archs: int) -> list[Event]:
    """All steps in order.

    Args:
        config: Of the search.
        weights: Batches that an epoch has for the weights.
        archs: Batches that an epoch has for the distribution.
    """
    found, warm, j = list[Event](), config.weights.warm_epochs, 0
    for epoch in range(config.weights.epochs):
        for i in range(weights):
            found.append(Event("weight", epoch, epoch * weights + i))
            # the distribution rests in the first epoch after the warm-up
            if config.method == "proxyless" and epoch > warm and (i + 1) % config.arch_every == 0:
                found.append(Event("arch", epoch, j))
                j += 1
        if config.method == "fbnet" and epoch >= warm:
            found += [Event("arch", epoch, j + i) for i in range(archs)]
            j += archs
    return found


def weights_rate(config: SearchConfig, steps: list[Event]) -> optax.Schedule | None:
    """ProxylessNAS's rate: a cosine over the warm-up, another from half of it over the search."""
    training = config.weights
    warm = sum(kind == "weight" and epoch < training.warm_epochs for kind, epoch, _ in steps)
    rest = sum(kind == "weight" for kind, _, _ in steps) - warm
    if config.method != "proxyless" or not warm or not rest:
        return None
    halves = [optax.cosine_decay_schedule(training.peak_lr / part, n) for part, n in ((1, warm), (2, rest))]
    return optax.join_schedules(halves, [warm])
