"""Errors of this package that a user can mend."""

from supernets.data.errors import DataError as DataError


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or of another space."""


class TrainingError(ValueError):
    """Training cannot go on: its options are wrong, or the loss is not a number."""
