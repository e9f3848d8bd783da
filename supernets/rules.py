"""Training rules: which subnets a step runs, and what each of them learns from."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from search_spaces import AdditiveCost, Linear, Network, Space
from supernets.chain import forward, gradient
from supernets.config import TrainConfig
from supernets.losses import Loss, adaptive_divergence, cross_entropy
from supernets.params import Array, Params
from supernets.program_files import ProgramFiles

LOSSES: dict[str, Loss] = {"ce": cross_entropy, "alpha": adaptive_divergence}


class Draw(NamedTuple):
    """A network of a step.

    Attributes:
        network: Of the images' size.
        source: What it learns from: the labels; the outputs of the step's first network; or the
            labels and a fixed teacher.
        dropout: Whether its features are dropped.
    """

    network: Network
    source: Literal["label", "first", "teacher"] = "label"
    dropout: bool = False


class Batch(NamedTuple):
    """Images `[n, h, w, c]`, smoothed class probabilities `[n, classes]`, and a mask `[n, features]` of ones or less.

    `teacher` are a teacher's logits, where there is one.
    """

    images: Array
    target: Array
    dropout: Array
    teacher: Array | None = None


class Summed(NamedTuple):
    """Gradients of a step, summed; loss and logits of its first network."""

    total: Params
    loss: Array
    logits: Array


def summed_gradient(
    params: Params,
    zeros: Params,
    draws: list[Draw],
    batch: Batch,
    config: TrainConfig,
    files: ProgramFiles | None = None,
    mesh: Mesh | None = None,
    masked: bool = False,
) -> Summed:
    """The sum, not the mean, of the gradients of a step's networks (OFA; BigNAS).

    Args:
        params: The supernet's weights.
        zeros: Of their shapes; its memory is used.
        draws: The networks, the one that teaches in place first.
        batch: What they see.
        config: How teachers are listened to.
        files: Where programs are kept, on one device.
        mesh: As of `supernets.chain.gradient`.
        masked: Likewise.
    """
    total, all_kept, first = zeros, jnp.ones_like(batch.dropout), None
    taught: Array | None = None
    for drawn in draws:
        target, loss = batch.target, LOSSES["ce"]
        if drawn.source == "first":
            assert first is not None
            target = taught = _softmax(first.logits) if taught is None else taught
            loss = LOSSES[config.divergence]
        elif drawn.source == "teacher":
            assert batch.teacher is not None
            target = batch.target + config.distill * _softmax(batch.teacher)
        dropout, features = batch.dropout if drawn.dropout else all_kept, _features(drawn.network)
        if features < dropout.shape[1]:  # in some spaces a narrow network has fewer
            dropout = dropout[:, :features]
        found = gradient(params, total, drawn.network, batch.images, target, dropout, loss, files, mesh, masked)
        total, first = found.total, first or found
    assert first is not None
    return Summed(total, first.loss, first.logits)


_softmax = jax.jit(jax.nn.softmax)  # one dispatch instead of six, which a small step would wait for


def _features(network: Network) -> int:
    last = network.operators[-1]
    assert isinstance(last, Linear)
    return last.in_channels


CANDIDATES = 3  # per subnet of AttentiveNAS's sampling
_POOL = 64  # draws out of which those of similar MACs are taken


class AttentiveSampler:
    """Best-up or worst-up sampling (Wang et al., AttentiveNAS, CVPR 2021), by the loss on the batch.

    A target of MACs is drawn log-uniformly between the smallest and the largest network's; of the
    draws nearest to it, the one with the smallest (best) or largest (worst) loss is trained.
    """

    def __init__(self, space: Space, mode: str) -> None:
        self.space, self.sign = space, 1.0 if mode == "best" else -1.0
        self.macs = AdditiveCost(space, lambda op: [op.macs])

    def __call__(
        self, rng: np.random.Generator, n: int, fixed: dict[int, int], loss: Callable[[Network], float]
    ) -> list:
        """`n` genotypes.

        Args:
            rng: Of the draws.
            n: How many.
            fixed: Choices by column that are given, such as the resolution.
            loss: Of a network on the batch.
        """
        rows = []
        for _ in range(n):
            X = self.space.sample(rng, _POOL)
            ends = np.stack([self.space.smallest, self.space.largest])
            for column, value in fixed.items():
                X[:, column] = ends[:, column] = value
            low, high = np.log(self.macs(self.space.canonical(ends))[:, 0])
            distance = np.abs(np.log(self.macs(X)[:, 0]) - rng.uniform(low, high))
            nearest = X[np.argsort(distance, kind="stable")[:CANDIDATES]]
            losses = [self.sign * loss(self.space.network(x)) for x in nearest]
            rows.append(nearest[int(np.argmin(losses))])
        return rows


def batch_loss(params: Params, batch: Batch, masked: bool) -> Callable[[Network], float]:
    """Cross entropy of a network with the batch's labels, nothing dropped."""
    return lambda network: float(cross_entropy(forward(params, network, batch.images, masked=masked), batch.target))
