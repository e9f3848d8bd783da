"""The distribution over a space's networks that a differentiable search moves: logits of every layer's candidates."""

from typing import Any

import numpy as np

from search_spaces import Architecture
from supernets.architecture import Adam, Layers, gumbel_softmax, softmax
from supernets.search_config import SearchConfig

_BETAS = {"proxyless": (0.0, 0.999), "fbnet": (0.9, 0.999)}  # of Adam, the papers'
_SCALE = 1e-3  # of the logits at the start


class Distribution:
    """Independent over the layers; only `move` changes it.

    Args:
        config: Of the search.
        cardinality: Candidates of every layer.

    Attributes:
        alphas: Logits of every layer's candidates.
        adam: That moves them.
        updates: How often it did.
        baseline: Mean reward of before, for REINFORCE.
        multiplier: Of the latency's excess, where the loss aims at a latency.
    """

    def __init__(self, config: SearchConfig, cardinality: np.ndarray) -> None:
        self._config = config
        self.adam = Adam(config.arch_rate, *_BETAS[config.method], config.arch_decay)
        rng = np.random.default_rng([config.weights.seed, 3])
        self.alphas: Layers = [rng.normal(0, _SCALE, size=int(c)) for c in cardinality]
        self._m, self._v = [0 * a for a in self.alphas], [0 * a for a in self.alphas]
        self.updates, self.baseline, self.multiplier = 0, float("nan"), 0.0

    @property
    def shares(self) -> Layers:
        """Probabilities of every layer's candidates."""
        return [softmax(a) for a in self.alphas]

    def path(self, rng: np.random.Generator) -> Architecture:
        """A network drawn from it."""
        return tuple(int(rng.choice(len(p), p=p)) for p in self.shares)

    def temperature(self, epoch: int) -> float:
        """Of Gumbel softmax."""
        return self._config.temperature * float(np.exp(-self._config.cooling * epoch))

    def mixing(self, epoch: int, rng: np.random.Generator) -> Layers:
        """Weights of all candidates, by Gumbel softmax at the epoch's temperature."""
        return [gumbel_softmax(a, self.temperature(epoch), rng) for a in self.alphas]

    def move(self, gradients: Layers) -> None:
        """One update of Adam."""
        self.updates += 1
        parts = zip(self.alphas, gradients, self._m, self._v, strict=True)
        moved = [self.adam(a, g, m, v, self.updates) for a, g, m, v in parts]
        self.alphas, self._m, self._v = ([part[i] for part in moved] for i in range(3))

    def press(self, expected_ms: float) -> None:
        """Moves the multiplier up the gradient of the Lagrangian, see `architecture.aimed`."""
        self.multiplier += self._config.multiplier_rate * (expected_ms / self._config.reference_ms - 1)

    def saved(self) -> dict[str, Any]:
        """For a checkpoint, as JSON has it."""
        layers = {"alphas": self.alphas, "m": self._m, "v": self._v}
        numbers = {name: [a.tolist() for a in values] for name, values in layers.items()}
        return {"updates": self.updates, "baseline": self.baseline, "multiplier": self.multiplier} | numbers

    def restore(self, saved: dict[str, Any]) -> None:
        """Becomes what was saved."""
        self.alphas, self._m, self._v = ([np.array(a) for a in saved[name]] for name in ("alphas", "m", "v"))
        self.updates, self.baseline, self.multiplier = saved["updates"], saved["baseline"], saved["multiplier"]
