"""Published ground truth: a table of what every architecture scored, for honest comparisons."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nas.errors import UserError
from nas.pareto import hypervolume, pareto_front
from search_spaces import ArchitectureError, Space

Index = dict[bytes, int]


@dataclass(frozen=True)
class Truth:
    """Architectures of a space and their scores; all objectives minimised.

    Attributes:
        space: Of the architectures.
        X: Genotypes `[n, genes]`.
        Y: Error in percent and cost `[n, 2]`.
        test_error: Error on the test set `[n]`, or None.
        cost: Name of the second objective.
    """

    space: Space
    X: np.ndarray
    Y: np.ndarray
    test_error: np.ndarray | None
    cost: str

    @cached_property
    def index(self) -> Index:
        """Row of every genotype."""
        return {row.tobytes(): i for i, row in enumerate(np.ascontiguousarray(self.X, dtype=np.int64))}

    @cached_property
    def reference(self) -> np.ndarray:
        """Reference point of the hypervolume: the 95th percentiles."""
        return np.quantile(self.Y, 0.95, axis=0)

    @cached_property
    def volume(self) -> float:
        """Hypervolume of the exact front."""
        return hypervolume(self.Y, self.reference)

    def rows(self, X: np.ndarray) -> np.ndarray:
        """Row of every genotype of `X` `[n, genes]`.

        Raises:
            UserError: if one is not in the table.
        """
        try:
            return np.array([self.index[x.tobytes()] for x in np.ascontiguousarray(X, dtype=np.int64)], dtype=np.int64)
        except KeyError:
            missing = next(x for x in np.ascontiguousarray(X, dtype=np.int64) if x.tobytes() not in self.index)
            raise UserError(
                f"The truth has no row for {self.space.to_text(missing)}; a comparison needs every architecture."
            ) from None

    def scores(self, X: np.ndarray) -> np.ndarray:
        """Error and cost of genotypes `X` `[n, genes]`, `[n, 2]`; raises like `rows`."""
        return self.Y[self.rows(X)]

    def curve(self, Y: np.ndarray) -> np.ndarray:
        """Normalised hypervolume after every evaluation of `Y` `[n, 2]`, `[n]`; 1 for the exact front."""
        return hypervolume_curve(Y, self.reference) / self.volume

    def limits(self, n: int = 10) -> np.ndarray:
        """Limits on the cost, evenly spread over the exact front."""
        front = self.Y[pareto_front(self.Y), 1]
        front = front[front < self.reference[1]]
        return np.quantile(front, np.linspace(0.1, 1.0, n))

    def regret(self, X: np.ndarray) -> float:
        """Mean over `limits` of the test error lost by picking from `X` instead of from the whole table.

        Both picks are by `Y`'s error, as a user's would be; a limit that nothing of `X` meets counts with the
        error of the worst architecture within it.
        """
        if self.test_error is None:
            return float("nan")
        rows, lost = self.rows(X), []
        for limit in self.limits():
            within = np.flatnonzero(self.Y[:, 1] <= limit)
            mine = rows[self.Y[rows, 1] <= limit]
            best = self.test_error[within[self.Y[within, 0].argmin()]]
            lost.append(
                (self.test_error[mine[self.Y[mine, 0].argmin()]] if len(mine) else self.test_error[within].max()) - best
            )
        return float(np.mean(lost))


def hypervolume_curve(Y: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Hypervolume of the first 1, 2, ... rows of `Y` `[n, 2]`, `[n]`."""
    values, kept, last = np.zeros(len(Y)), Y[:0], 0.0
    for i, y in enumerate(Y):
        if (y < reference).all() and not (kept <= y).all(axis=1).any():
            kept = np.concatenate([kept[~(y <= kept).all(axis=1)], y[None]])
            last = hypervolume(kept, reference)
        values[i] = last
    return values


def read_truth(space: Space, file: Path, *, cost: str, accuracy: str, test: str | None, arch: str) -> Truth:
    """Reads a Parquet table with a row an architecture.

    Args:
        space: Of the architectures.
        file: The table.
        cost: Column of the second objective, e.g. a device's latency.
        accuracy: Column of the accuracy in percent that the search sees.
        test: Column of the accuracy in percent that the regret is measured in, or None.
        arch: Column of the architectures, as `space.to_text` writes them.

    Raises:
        UserError: if the file, a column or an architecture is not what it should be.
    """
    import pandas as pd

    try:
        table = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise UserError(f"--truth (={file}) cannot be read as Parquet ({str(error).splitlines()[0]}).") from error
    for option, column in (("--device", cost), ("--accuracy", accuracy), ("--test", test), ("--arch-column", arch)):
        if column is not None and column not in table:
            raise UserError(f"{option} (={column!r}) must be a column of {file}: {', '.join(map(str, table))}.")
    try:
        X = np.array([space.parse(text) for text in table[arch]], dtype=np.int64)
    except ArchitectureError as error:
        raise UserError(f"{file}: column {arch!r} does not hold architectures of {space.name}: {error}") from error
    Y = np.stack([100.0 - table[accuracy].to_numpy(float), table[cost].to_numpy(float)], axis=1)
    if not np.isfinite(Y).all():
        raise UserError(f"{file}: {accuracy} and {cost} must be numbers in every row.")
    return Truth(space, X, Y, None if test is None else 100.0 - table[test].to_numpy(float), cost)
