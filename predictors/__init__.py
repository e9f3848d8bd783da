"""Latency, accuracy and zero-cost scores of architectures, with scikit-learn's habits."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from predictors.accuracy import AccuracyPredictor, HeldOut
    from predictors.kernels import KernelPredictor
    from predictors.latency import TableLatency
    from predictors.transfer import TransferLatency

# Where each public name lives; modules are imported when a name of theirs is first used.
_MODULES = {
    "AccuracyPredictor": "accuracy",
    "HeldOut": "accuracy",
    "KernelPredictor": "kernels",
    "TableLatency": "latency",
    "TransferLatency": "transfer",
}

__all__ = ["AccuracyPredictor", "HeldOut", "KernelPredictor", "TableLatency", "TransferLatency"]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
