"""Fixtures for all tests: a seeded generator, strict JAX numerics, and the optional folders of real data."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with the same numbers in every test and every run."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real image data sets beside the repository; the test is skipped where it is absent."""
    return _beside("data")


@pytest.fixture(scope="session")
def shared_bench() -> Path:
    """Folder of published benchmark tables beside the repository; the test is skipped where it is absent."""
    return _beside("bench")


def _beside(name: str) -> Path:
    folder = ROOT.parent / "shared" / name
    if not folder.is_dir():
        pytest.skip(f"needs the optional folder ../shared/{name} beside the repository")
    return folder


@pytest.fixture(autouse=True)
def _strict_jax() -> None:
    """Makes silent broadcasting between ranks an error, in tests whose module has imported JAX."""
    # Looked up, not imported: most tests do not need JAX, and importing it takes longer than they do.
    jax = sys.modules.get("jax")
    if jax is not None:
        jax.config.update("jax_numpy_rank_promotion", "raise")
