"""Uniform scalings: the same depth, kernel and expansion everywhere, what one would try without a search."""

from itertools import product

import numpy as np

from search_spaces import Space


def uniform_scalings(space: Space, n: int = 5) -> np.ndarray:
    """Up to `n` genotypes `[n, genes]` from the smallest to the largest, every gene at the same relative choice.

    Of all settings (one choice per kind of gene, the largest resolution), those are taken that
    cut the range of parameter counts most evenly.
    """
    kinds = sorted({gene.name.rpartition(".")[2] for gene in space.genes} - {"resolution"})
    counts = {kind: max(len(g.choices) for g in space.genes if g.name.endswith(kind)) for kind in kinds}
    rows = []
    for choice in product(*(range(counts[kind]) for kind in kinds)):
        level = dict(zip(kinds, choice, strict=True))
        rows.append(
            [min(level.get(g.name.rpartition(".")[2], len(g.choices) - 1), len(g.choices) - 1) for g in space.genes]
        )
    X = np.unique(space.canonical(np.array(rows)), axis=0)
    macs = np.array([space.network(x).macs for x in X], dtype=np.float64)
    wanted = np.geomspace(macs.min(), macs.max(), n)
    return X[sorted({int(np.argmin(np.abs(macs - target))) for target in wanted}, key=lambda i: macs[i])]
