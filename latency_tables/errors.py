"""Errors that a user of latency tables can meet; every message is one line with the remedy."""


class DeviceError(ValueError):
    """A device is unknown or its description is malformed."""


class TableError(ValueError):
    """A file is no latency table, or is one of other conditions than asked for."""


class WeightsError(ValueError):
    """Weights of a network are missing or have the wrong shape."""


class MissingKernelError(LookupError):
    """A network has kernels that the table did not measure."""


class QuantisationError(WeightsError):
    """A model cannot be quantised as asked, or the calibration images do not fit it."""
