"""Errors of this package; each message names the value, the constraint and the remedy in one line."""


class ArchitectureError(ValueError):
    """An architecture, its text or its genes do not belong to the space."""


class SpaceError(ValueError):
    """A search space or reference network is unknown, or an option of it is out of range."""
