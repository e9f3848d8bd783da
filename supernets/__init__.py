"""Weights that hold every network of a search space, and the code that trains them."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supernets.calibrate import Calibrator
    from supernets.checkpoint import load_params
    from supernets.config import TrainConfig
    from supernets.elastic import Supernet
    from supernets.extraction import export_weights, extract, slice_weights
    from supernets.module import NetworkModule
    from supernets.params import init_params
    from supernets.sorting import sort_channels
    from supernets.training import train

# Where each public name lives; JAX is imported when one of them is first used.
_MODULES = {
    "Calibrator": "calibrate",
    "NetworkModule": "module",
    "Supernet": "elastic",
    "TrainConfig": "config",
    "export_weights": "extraction",
    "extract": "extraction",
    "init_params": "params",
    "load_params": "checkpoint",
    "slice_weights": "extraction",
    "sort_channels": "sorting",
    "train": "training",
}

__all__ = [
    "Calibrator",
    "NetworkModule",
    "Supernet",
    "TrainConfig",
    "export_weights",
    "extract",
    "init_params",
    "load_params",
    "slice_weights",
    "sort_channels",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
