"""The error that everything wrong with a person's data is reported as."""


class DataError(ValueError):
    """Data cannot be used as it is; the message is one line: what, its value, the constraint, the remedy."""
