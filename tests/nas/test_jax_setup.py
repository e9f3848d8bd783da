"""What JAX is told before its first use: where programs are kept, and that nothing needs autotuning."""

import os

import pytest

from nas.jax_setup import keep_programs, spare_autotuning
from nas.runs import Run
from nas.subnets import Subnets

NAMES = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "XLA_FLAGS")


@pytest.fixture
def environment(monkeypatch, tmp_path):
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that what is set is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return os.environ


def test_programs_are_kept_below_the_users_cache(environment, tmp_path):
    keep_programs()
    assert environment["JAX_COMPILATION_CACHE_DIR"].startswith(str(tmp_path / "nas-platform"))


def test_a_user_without_a_home_keeps_nothing(environment, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does where there is none
    keep_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in environment


def test_what_the_user_has_set_stays(environment):
    environment["JAX_COMPILATION_CACHE_DIR"], environment["XLA_FLAGS"] = "/elsewhere", "--xla_gpu_autotune_level=3"
    keep_programs()
    spare_autotuning()
    assert (environment["JAX_COMPILATION_CACHE_DIR"], environment["XLA_FLAGS"]) == (
        "/elsewhere",
        "--xla_gpu_autotune_level=3",
    )


def test_nothing_needs_autotuning(environment):
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    spare_autotuning()
    assert "--xla_gpu_autotune_level=0" in environment["XLA_FLAGS"]
    assert environment["XLA_FLAGS"].startswith("--xla_force_host_platform_device_count=2")


def test_what_opens_a_run_spares_it_too(environment, run_folder):
    """Fine-tuning for INT8, retraining, searching and exporting compile the same blocks as the training."""
    Subnets(Run.open(run_folder))
    assert "--xla_gpu_autotune_level=0" in environment["XLA_FLAGS"]
