"""Fixtures for all tests: a seeded generator and the optional folders of real data; compiled programs are kept."""

import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """The many processes of the tests compile each JAX program once between them; set before JAX loads."""
    cache = getattr(config, "cache", None)
    if cache is not None:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache.mkdir("jax")))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
    # a program of the tests runs for less time than it takes to optimise
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test starts first, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


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
