"""Errors that are the user's to mend: one line that names the value, the constraint and the remedy."""


class UserError(ValueError):
    """Bad input; the command line prints it in one line and exits with 2."""


class InfeasibleError(UserError):
    """No architecture of the space meets the limits."""


class RunError(UserError):
    """A run folder is missing something, or belongs to something else."""
