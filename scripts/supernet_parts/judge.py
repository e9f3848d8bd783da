"""How good trained networks are."""

from functools import cached_property
from typing import Any

import numpy as np

from search_spaces import Network

_CHUNK = 1000  # images at once when testing


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
