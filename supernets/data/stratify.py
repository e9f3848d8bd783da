"""Deterministic stratified splits: every class keeps its share on both sides."""

import numpy as np

from supernets.data.errors import DataError


def stratified_split(labels: np.ndarray, count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits example indices so that `count` of them are set aside, each class in proportion to its size.

    Args:
        labels: class of each example, int `[n]`.
        count: how many examples to set aside, at least 1; every class keeps at least one of its own.
        seed: the same labels, count and seed give the same split everywhere.

    Returns:
        Indices kept `[n - count]` and indices set aside `[count]`, both ascending.

    Raises:
        DataError: `count` is not positive or leaves a class without examples.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    most = len(labels) - len(classes)
    if not 1 <= count <= most:
        raise DataError(
            f"cannot set aside {count} of {len(labels)} examples of {len(classes)} classes: "
            f"ask for 1 to {most}, so that every class keeps at least one."
        )
    rng = np.random.default_rng(seed)
    aside = [
        rng.choice(np.flatnonzero(labels == c), quota, replace=False)
        for c, quota in zip(classes, _quotas(sizes, count), strict=True)
    ]
    mask = np.zeros(len(labels), dtype=bool)
    mask[np.concatenate(aside)] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def _quotas(sizes: np.ndarray, count: int) -> np.ndarray:
    """Shares `count` out in proportion to `sizes` by largest remainder, at most `size - 1` to each."""
    shares = sizes * (count / sizes.sum())
    quotas = np.minimum(np.floor(shares).astype(np.int64), sizes - 1)
    order = np.argsort(quotas - shares, kind="stable")
    while (missing := count - int(quotas.sum())) > 0:
        room = order[quotas[order] < sizes[order] - 1]
        quotas[room[:missing]] += 1
    return quotas
