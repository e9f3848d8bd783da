"""Costs that are sums over operators, compiled to array programs over populations."""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from search_spaces.gene import Architecture
from search_spaces.operators import Operator
from search_spaces.space import Space


def _part_genes(space: Space) -> dict[str, list[int]]:
    """Columns of the genes that shape a part ("stage1.block2"): its own, not the global ones or its depth."""
    parts: dict[str, list[int]] = {}
    for i, gene in enumerate(space.genes):
        owner = gene.name.rpartition(".")[0]
        if owner.rpartition(".")[2].startswith("block"):
            parts.setdefault(owner, []).append(i)
    return parts


def covering(space: Space) -> list[Architecture]:
    """A short list of architectures in which every operator of the space appears.

    At every combination of the global genes (resolution), block choices vary all at once:
    as many architectures as the richest block has combinations, all of full depth.
    """
    if not space.blockwise:
        return _greedy_covering(space)
    parts = _part_genes(space)
    shared = [i for i, gene in enumerate(space.genes) if "." not in gene.name]
    combinations = {
        part: list(product(*(range(space.cardinality[i]) for i in columns))) for part, columns in parts.items()
    }
    archs = []
    for values in product(*(range(space.cardinality[i]) for i in shared)):
        for j in range(max(map(len, combinations.values()), default=1)):
            arch = space.cardinality - 1
            arch[shared] = values
            for part, columns in parts.items():
                arch[columns] = combinations[part][j % len(combinations[part])]
            archs.append(space.check(arch.tolist()))
    return archs


def _greedy_covering(space: Space, samples: int = 1000) -> list[Architecture]:
    """Those of a fixed sample that have an operator which none before them has.

    Where the space says what decides a part, every combination of those genes is in the sample.
    """
    rng = np.random.default_rng(0)
    rows = [*space.sample(rng, samples)]
    parts = dict.fromkeys(op.part for row in rows[:50] for op in space.network(row))
    columns = {part: found for part in parts if (found := space.part_columns(part))}
    drawn = {part: {tuple(row[c]) for row in rows} for part, c in columns.items()}
    for part, own in columns.items():
        for values in product(*(range(int(space.cardinality[i])) for i in own)):
            if values not in drawn[part]:
                row = space.sample(rng, 1)[0]
                row[own] = values
                rows.append(row)
    seen: set[str] = set()
    archs = []
    for x in rows:
        keys = set(space.network(x).kernels)
        if keys - seen:
            seen |= keys
            archs.append(space.check(x))
    return archs


class AdditiveCost:
    """Sum over operators of `costs(op)`, for whole populations at once.

    The operators of a part ("stage1.block2", "stem") must be decided by the part's own genes
    and the global ones; a part whose genes are inactive is absent. Each part becomes one lookup
    table, so that scoring a population is a few gathers. A space that is not block-wise but says
    which genes decide a part fills its tables as combinations appear; any other is scored network
    by network, each once.

    Args:
        space: The space.
        costs: From an operator to a vector `[m]` of its costs.
        named: Whether an operator's name matters to them, and not its kernel alone.
    """

    def __init__(
        self, space: Space, costs: Callable[[Operator], np.ndarray | list[float]], *, named: bool = False
    ) -> None:
        self.space = space
        self._shared = [i for i, gene in enumerate(space.genes) if "." not in gene.name]
        self._columns = _part_genes(space)
        self._costs = costs
        self._known: dict[Architecture, np.ndarray] = {}
        self._lazy: LazyTables | None = None
        if not space.blockwise:
            if space.part_columns("stem") is not None:
                self._lazy = LazyTables(space, costs)
            return
        cache: dict[str, np.ndarray] = {}
        tables: dict[str, dict[int, np.ndarray]] = {}
        for arch in covering(space):
            sums: dict[str, np.ndarray] = {}
            for op in space.network(arch):
                key = f"{op.name} {op.key}" if named else op.key
                if key not in cache:
                    cache[key] = np.asarray(costs(op), dtype=np.float64)
                sums[op.part] = sums.get(op.part, 0) + cache[key]
            row = np.array([arch])
            for part, total in sums.items():
                tables.setdefault(part, {})[int(self._code(part, row)[0])] = total
        self._tables = {part: self._filled(part, rows) for part, rows in tables.items()}

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Costs of a population `[n, genes]`, float64 `[n, m]`."""
        X = np.atleast_2d(X)
        if self._lazy is not None:
            return self._lazy(X)
        if not self.space.blockwise:
            return np.array([self._whole(tuple(x)) for x in X.tolist()])
        active = self.space.active(X)
        total = np.zeros((len(X), next(iter(self._tables.values())).shape[1]))
        for part, table in self._tables.items():
            values = table[self._code(part, X)]
            columns = self._columns.get(part)
            total += values if columns is None else np.where(active[:, columns[0], None], values, 0.0)
        return total

    def _whole(self, arch: Architecture) -> np.ndarray:
        """Costs of one network of a space that is not block-wise."""
        if arch not in self._known:
            self._known[arch] = np.sum([np.asarray(self._costs(op)) for op in self.space.network(arch).live], axis=0)
        return self._known[arch]

    def _filled(self, part: str, rows: dict[int, np.ndarray]) -> np.ndarray:
        """Costs by code; choices that leave nothing of the part, such as an identity, cost nothing."""
        codes = int(np.prod(self.space.cardinality[self._shared + self._columns.get(part, [])], dtype=np.int64))
        nothing = np.zeros_like(next(iter(rows.values())))
        return np.stack([rows.get(code, nothing) for code in range(codes)])

    def cheapest(self, column: int = 0) -> Architecture:
        """The architecture with the smallest cost in `column`: exact for a block-wise space.

        For another, no single gene can make it cheaper.
        """
        if not self.space.blockwise:
            return self._descend(column)
        rows = np.concatenate([self._cheapest(values, column) for values in self._global_choices()])
        return self.space.check(rows[np.argmin(self(rows)[:, column])].tolist())

    def _descend(self, column: int) -> Architecture:
        best, cost = np.zeros(len(self.space.genes), dtype=np.int64), np.inf
        while True:
            rows = np.repeat(best[None], self.space.cardinality.sum(), axis=0)
            gene = np.repeat(np.arange(len(best)), self.space.cardinality)
            rows[np.arange(len(rows)), gene] = np.concatenate([np.arange(c) for c in self.space.cardinality])
            costs = self(rows)[:, column]
            if costs.min() >= cost:
                return self.space.check(best.tolist())
            best, cost = rows[costs.argmin()], float(costs.min())

    def _global_choices(self) -> Iterator[tuple[int, ...]]:
        return product(*(range(int(self.space.cardinality[i])) for i in self._shared))

    def _cheapest(self, shared: tuple[int, ...], column: int) -> np.ndarray:
        """The cheapest genotype `[1, genes]` under given global genes."""
        arch = np.zeros((1, len(self.space.genes)), dtype=np.int64)
        arch[0, self._shared] = shared
        below: dict[int, np.ndarray] = {}  # for every depth gene: cost of its blocks at each of its choices
        for part, columns in self._columns.items():
            combinations = list(product(*(range(int(self.space.cardinality[i])) for i in columns)))
            first = int(self._code(part, arch)[0])
            costs = self._tables[part][first : first + len(combinations), column]
            arch[0, columns] = combinations[int(costs.argmin())]
            requires = self.space.genes[columns[0]].requires
            if requires:
                parent = self.space.index[requires[0]]
                values = np.array(self.space.genes[parent].choices)
                below[parent] = below.get(parent, 0) + np.where(values >= requires[1], costs.min(), 0.0)
        for parent, costs in below.items():
            arch[0, parent] = int(costs.argmin())
        return self.space.canonical(arch)

    def _code(self, part: str, X: np.ndarray) -> np.ndarray:
        """Row of a part's table, mixed radix over global genes then the part's own; `[n]`."""
        code = np.zeros(len(X), dtype=np.int64)
        for i in self._shared + self._columns.get(part, []):
            code = code * int(self.space.cardinality[i]) + X[:, i]
        return code


class LazyTables:
    """Costs by part and by combination of the genes that decide it, looked up once known, made when first seen.

    Args:
        space: A space with `part_columns`.
        costs: From an operator to a vector `[m]` of its costs.
    """

    def __init__(self, space: Space, costs: Callable[[Operator], np.ndarray | list[float]]) -> None:
        self._space, self._costs = space, costs
        self._columns: dict[str, list[int]] = {}
        self._strides: dict[str, np.ndarray] = {}
        self._tables: dict[str, np.ndarray] = {}
        for row in (space.cardinality - 1, np.zeros_like(space.cardinality)):
            for op in space.network(row):
                self._add_part(op.part, len(np.asarray(costs(op))))

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Costs of a population `[n, genes]`, float64 `[n, m]`."""
        while True:
            parts = [self._tables[p][X[:, c] @ self._strides[p]] for p, c in self._columns.items()]
            total = np.sum(parts, axis=0)
            unknown = np.flatnonzero(np.isnan(total[:, 0]))
            if not len(unknown):
                return total
            self._learn(X[unknown[0]])

    def _add_part(self, part: str, m: int) -> None:
        if part not in self._columns:
            columns = self._space.part_columns(part)
            assert columns is not None, part
            sizes = self._space.cardinality[columns]
            self._columns[part] = columns
            self._strides[part] = np.cumprod([1, *sizes[::-1]])[:-1][::-1]
            self._tables[part] = np.full((int(sizes.prod()), m), np.nan)

    def _learn(self, x: np.ndarray) -> None:
        sums = {part: np.zeros(table.shape[1]) for part, table in self._tables.items()}
        for op in self._space.network(x):
            sums[op.part] = sums[op.part] + np.asarray(self._costs(op))
        for part, total in sums.items():
            self._tables[part][int(x[self._columns[part]] @ self._strides[part])] = total
