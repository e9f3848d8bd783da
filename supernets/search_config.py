"""How a differentiable search is run, as data."""

from dataclasses import dataclass, field, replace
from typing import Literal

from supernets.config import TrainConfig
from supernets.errors import TrainingError


@dataclass(frozen=True)
class SearchConfig:
    """Differentiable search over a space of layer choices; weights and distribution are trained in turn.

    Attributes:
        method: "proxyless" (binary gates, one path at a time) or "fbnet" (Gumbel softmax over all).
        weights: How the weights are trained; its `warm_epochs` train them alone.
        reference_ms: Latency that the loss aims at; of FBNet's own loss only a label.
        gradient: Of proxyless: "full_v2" (every gate, one block at a time), "two" (two paths), "reinforce".
        loss: "add" (of proxyless: CE + weight (E - ref) / ref), "mul" (CE alpha (log E / log ref)^beta; FBNet's own,
            which has no ref, whatever is said here but "target"), or "target" (`architecture.aimed`, to hit ref).
        latency_weight: Of "add".
        multiplier_rate: Of "target", an update.
        damping: Of "target".
        alpha: Of the products.
        beta: Of the products, outside the logarithm.
        arch_share: Share of the training images kept for the distribution's steps.
        arch_every: Weight steps for each of the distribution's (proxyless).
        arch_rate: Adam's rate for the distribution.
        arch_decay: L2 decay of the distribution.
        temperature: Of Gumbel softmax in the first epoch.
        cooling: Its factor is exp(-cooling) an epoch.
        reinforce_batch: Networks sampled for a step of "reinforce".
        reinforce_power: Of reference / latency in its reward.
        drawn: Of "target": networks drawn from the distribution at the end, of which the one is taken that is most
            accurate with the supernet's weights; 0 takes the most probable.
    """

    method: Literal["proxyless", "fbnet"]
    weights: TrainConfig = field(default_factory=lambda: TrainConfig(method="single_path"))
    reference_ms: float = 1.0
    gradient: Literal["full_v2", "two", "reinforce"] = "full_v2"
    loss: Literal["add", "mul", "target"] = "add"
    latency_weight: float = 0.1
    multiplier_rate: float = 0.01
    damping: float = 3.0
    alpha: float = 0.2
    beta: float = 0.3
    arch_share: float = 0.2
    arch_every: int = 5
    arch_rate: float = 1e-3
    arch_decay: float = 0.0
    temperature: float = 5.0
    cooling: float = 0.045
    reinforce_batch: int = 10
    reinforce_power: float = 0.1
    drawn: int = 0

    def __post_init__(self) -> None:
        for name, given, known in (
            ("method", self.method, ("proxyless", "fbnet")),
            ("gradient", self.gradient, ("full_v2", "two", "reinforce")),
            ("loss", self.loss, ("add", "mul", "target")),
        ):
            if given not in known:
                raise TrainingError(f"{name} (={given!r}) must be one of: {', '.join(known)}.")
        for name, value in (("reference_ms", self.reference_ms), ("temperature", self.temperature)):
            if value <= 0:
                raise TrainingError(f"{name} (={value}) must be above 0.")
        if not 0 < self.arch_share < 1:
            raise TrainingError(f"arch_share (={self.arch_share}) must be between 0 and 1.")
        if self.arch_every < 1 or self.reinforce_batch < 1:
            raise TrainingError(f"arch_every (={self.arch_every}) and reinforce_batch must be at least 1.")


_FBNET_EPOCHS = 90
_DRAWN = 64  # judged by inherited weights, in the place of some that are trained
_TRAVEL = 30.0  # rate times updates at the least: how far Adam can move a logit in all
_PRESSURE = 10.0  # likewise of the multiplier where the latency is twice what is aimed at


def _arch_rate(published: float, updates: int | None) -> float:
    """The published rate, or a larger one where there are too few updates for a distribution to settle with it.

    Adam moves a logit by at most about its rate an update. The papers' searches on ImageNet made some 10^5 updates.
    """
    return max(published, _TRAVEL / updates) if updates else published


def _multiplier_rate(updates: int | None) -> float:
    return _PRESSURE / updates if updates else SearchConfig.multiplier_rate


def proxyless_config(
    weights: TrainConfig,
    reference_ms: float,
    *,
    updates: int | None = None,
    gradient: Literal["full_v2", "two", "reinforce"] = "full_v2",
    loss: Literal["add", "mul", "target"] = "add",
) -> SearchConfig:
    """ProxylessNAS's own numbers: Adam 1e-3 with betas (0, 0.999), weight decay 4e-5, a tenth of the images held out.

    Args:
        weights: How the weights are trained.
        reference_ms: Latency to aim at.
        updates: Of the distribution; with it the rate is scaled to them, see `_arch_rate`.
        gradient: See `SearchConfig`.
        loss: Likewise.
    """
    rate = _arch_rate(1e-3, updates)
    weights = replace(weights, weight_decay=4e-5)
    press = _multiplier_rate(updates)
    return SearchConfig(
        "proxyless", weights, reference_ms, gradient, loss, arch_share=0.1, arch_rate=rate, multiplier_rate=press
    )


def fbnet_config(
    weights: TrainConfig,
    reference_ms: float = 1.0,
    *,
    updates: int | None = None,
    loss: Literal["mul", "target"] = "mul",
) -> SearchConfig:
    """FBNet's own numbers: Adam 0.01, decay 5e-4, beta 0.6, a fifth held out.

    The temperature falls from 5 by exp(-0.045 epoch) over 90 epochs; over fewer it falls as far.

    Args:
        weights: How the weights are trained.
        reference_ms: Latency to aim at with "target"; otherwise only a label.
        updates: Of the distribution; with it the rate is scaled to them, see `_arch_rate`.
        loss: FBNet's own, or "target", see `SearchConfig`.
    """
    rate = _arch_rate(0.01, updates)
    cooling = 0.045 * max(1.0, _FBNET_EPOCHS / weights.epochs)
    numbers = {"alpha": 0.2, "beta": 0.6, "arch_rate": rate, "arch_decay": 5e-4, "cooling": cooling}
    numbers["multiplier_rate"] = _multiplier_rate(updates)
    drawn = _DRAWN if loss == "target" else 0
    return SearchConfig("fbnet", weights, reference_ms, loss=loss, drawn=drawn, **numbers)  # type: ignore[arg-type]
