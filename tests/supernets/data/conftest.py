"""Helpers shared by the tests of every source of data."""

from collections.abc import Callable

import numpy as np
import pytest

from supernets.data import DataError, load_dataset


@pytest.fixture
def arrays(rng: np.random.Generator) -> Callable[..., dict[str, np.ndarray]]:
    """Makes the arrays of a small valid archive with two classes, some changed; None leaves one out."""

    def make(**changes: object) -> dict[str, np.ndarray]:
        found: dict[str, object] = {
            "x_train": rng.integers(0, 256, (8, 6, 6, 3), dtype=np.uint8),
            "y_train": np.arange(8) % 2,
            "x_test": rng.integers(0, 256, (4, 6, 6, 3), dtype=np.uint8),
            "y_test": np.arange(4) % 2,
        } | changes
        return {name: np.asarray(value) for name, value in found.items() if value is not None}

    return make


@pytest.fixture
def failure() -> Callable[..., str]:
    """Loads and returns the message of the error, which must be one line that suggests something."""

    def load(source: object, **options: object) -> str:
        with pytest.raises(DataError) as caught:
            load_dataset(source, **options)  # type: ignore[arg-type]
        message = str(caught.value)
        assert "\n" not in message and message.endswith(".") and ":" in message
        return message

    return load
