"""How good trained networks are."""

from functools import cached_property
from typing import Any

from search_spaces import Network

_CHUNK = 1000  # images at once when testing


class Judge:
    """Test accuracy of networks; the images are prepared once and stay on the device."""

    def __init__(self, data: Any, size: int, config: Any, *, calibration: int = 2000) -> None:
        self._data, self._size, self._config, self._calibration = data, size, config, calibration

    @cached_property
    def _images(self) -> tuple[Any, list[Any], list[Any]]:
        import jax.numpy as jnp

        from supernets.images import prepare
        from supernets.inputs import Recipe, seen_images

        data, size = self._data, self._size
        recipe = Recipe.of(self._config, data.mean, data.std)
        seen = seen_images(data.train_images, recipe, count=self._calibration, size=size)
        parts = [slice(i, i + _CHUNK) for i in range(0, len(data.test_labels), _CHUNK)]
        tests = [prepare(data.test_images[part], data.mean, data.std, size=size) for part in parts]
        return jnp.asarray(seen), tests, [jnp.asarray(data.test_labels[part]) for part in parts]

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
