"""Fixtures for all tests: a seeded generator, strict JAX numerics, and the optional folders of real data."""

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
