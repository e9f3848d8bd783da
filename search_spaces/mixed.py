"""Architecture and precision searched together (SimQ-NAS: Sridhar et al., 2023): a space around a space."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from search_spaces.errors import ArchitectureError, SpaceError
from search_spaces.gene import Architecture, Gene
from search_spaces.network import Network
from search_spaces.space import Space

BITS = (32, 8)
MODES = ("symmetric", "asymmetric")
_LETTERS = {(32, None): "f", (8, None): "s", (8, "symmetric"): "s", (8, "asymmetric"): "a"}
_CHECKED = 64  # random architectures
_SPLIT = "+"


class MixedSpace(Space):
    """The genes of a space, then for every operator its bits, and how its weights are rounded if it has any.

    Bits are 32 (float) or 8 (integers); the mode is a gene of its own, active where the bits are 8: symmetric weights
    have a scale a channel, asymmetric ones a scale and an offset for all channels. Genes of an operator that the
    architecture skips are inactive.

    Args:
        base: The space of architectures, whose operators are decided by single genes such as depths.

    Raises:
        SpaceError: if the operators of the space are decided otherwise.
    """

    blockwise = False

    def __init__(self, base: Space) -> None:
        self.base, self.name, self.options, self.source = base, f"{base.name}-mixed", base.options, base.source
        largest = base.network(base.canonical(base.cardinality - 1)[0]).live
        needed = _requirements(base, {op.name for op in largest})
        genes = list(base.genes)
        for op in largest:
            genes.append(Gene(f"{op.name}.bits", BITS, needed.get(op.name)))
            if op.weight_elements:
                genes.append(Gene(f"{op.name}.mode", MODES, (f"{op.name}.bits", 8)))
        self.genes = tuple(genes)
        self.operators = tuple(op.name for op in largest)
        self._check_operators()

    @property
    def reference(self) -> str:
        """That of the space of architectures."""
        return self.base.reference

    def architectures(self, X: np.ndarray) -> np.ndarray:
        """The genes of the space of architectures, `[n, its genes]`."""
        return np.atleast_2d(X)[:, : len(self.base.genes)]

    def network(self, arch: Sequence[int] | np.ndarray) -> Network:
        """The network of a genotype; precision is no part of it, see `precision`."""
        return self.base.network(np.asarray(arch)[: len(self.base.genes)])

    def precision(self, arch: Sequence[int] | np.ndarray) -> dict[str, str | None]:
        """The operators on integers, with the mode of their weights (None for those without weights)."""
        values = self.decode(arch)
        return {name: values.get(f"{name}.mode") for name in self.operators if values.get(f"{name}.bits") == 8}

    # -- populations ---------------------------------------------------------------------------

    @cached_property
    def bits_columns(self) -> np.ndarray:
        """Column of the bits of every operator, in the order of `operators`."""
        return np.array([self.index[f"{name}.bits"] for name in self.operators])

    def on_integers(self, X: np.ndarray) -> np.ndarray:
        """Whether every operator is there and on integers, bool `[n, operators]`."""
        return np.atleast_2d(X)[:, self.bits_columns] == BITS.index(8)

    def present(self, X: np.ndarray) -> np.ndarray:
        """Whether every operator is there, bool `[n, operators]`."""
        return self.active(X)[:, self.bits_columns]

    def _drawn(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Each genotype draws bits and modes by a rate of its own, all 0 and all 1 among the rates.

        Independent draws would leave every network half on integers, cut into dozens of pieces.
        """
        X = rng.integers(0, self.cardinality, size=(n, len(self.genes)))
        for suffix in (".bits", ".mode"):
            columns = [i for name, i in self.index.items() if name.endswith(suffix) and i >= len(self.base.genes)]
            rate = np.clip(rng.uniform(-0.25, 1.25, size=(n, 1)), 0, 1)
            X[:, columns] = rng.random((n, len(columns))) < rate
        return X

    def in_one_precision(self, architectures: np.ndarray, on_integers: np.ndarray) -> np.ndarray:
        """Genotypes whose operators are all in float or all on integers, with symmetric weights.

        Args:
            architectures: Genotypes of the space of architectures, `[n, its genes]`.
            on_integers: Whether each is on integers, bool `[n]`.
        """
        X = np.zeros((len(architectures), len(self.genes)), dtype=np.int64)
        X[:, : len(self.base.genes)] = architectures
        X[:, self.bits_columns] = np.where(on_integers, BITS.index(8), BITS.index(32))[:, None]
        return self.canonical(X)

    def spread(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """That of the space of architectures, all in one precision: its ends in both, those between in either.

        What a network loses and gains on integers is seen by these; half rounded, all are slow.
        """
        spread = self.base.spread(rng, n)
        architectures = np.concatenate([spread[:2], spread])
        either = rng.integers(2, size=len(spread) - 2)
        return self.in_one_precision(architectures, np.r_[0, 0, 1, 1, either] == 1)

    def mutate(self, X: np.ndarray, rng: np.random.Generator, rate: float | np.ndarray = 0.1) -> np.ndarray:
        """As in any space; an operator that comes in has the precision of the one before it."""
        return self._settled(super().mutate(X, rng, rate), self.present(X))

    def crossover(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Architectures are crossed as in any space; precisions are one parent's up to some operator, then the other's.

        What an operator's precision is worth depends on that of its neighbours (conversions). Where one parent lacks
        an operator, it has the other's.
        """
        A, B = np.atleast_2d(A), np.atleast_2d(B)
        cut = rng.integers(len(self.operators) + 1, size=(len(A), 1))
        in_a, in_b = self.present(A), self.present(B)
        from_a = np.where(in_a & in_b, np.arange(len(self.operators)) < cut, in_a)
        architectures = self.base.crossover(self.architectures(A), self.architectures(B), rng)
        n = len(self.base.genes)
        precisions = np.where(from_a[:, self._operator_of_gene], A[:, n:], B[:, n:])
        return self._settled(self.canonical(np.concatenate([architectures, precisions], axis=1)), in_a | in_b)

    def _settled(self, X: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Genotypes where operators not `known`, bool `[n, operators]`, have the precision of the last known before."""
        X, present, rows = X.copy(), self.present(X), np.arange(len(X))[:, None]
        for columns, operators in (
            (self.bits_columns, np.arange(len(self.operators))),
            (self._mode_columns, self._weighted),
        ):
            there = present[:, operators]
            sure = there & known[:, operators]
            before = np.maximum.accumulate(np.where(sure, np.arange(len(columns)), -1), axis=1)
            values = X[:, columns]
            X[:, columns] = np.where(there & ~sure & (before >= 0), values[rows, before], values)
        return self.canonical(X)

    @cached_property
    def _weighted(self) -> np.ndarray:
        """Positions of the operators with weights."""
        return np.array([i for i, name in enumerate(self.operators) if f"{name}.mode" in self.index])

    @cached_property
    def _mode_columns(self) -> np.ndarray:
        return np.array([self.index[f"{self.operators[i]}.mode"] for i in self._weighted])

    @cached_property
    def _operator_of_gene(self) -> np.ndarray:
        """Position of the operator of every gene of precision."""
        place = {name: i for i, name in enumerate(self.operators)}
        return np.array([place[gene.name.rpartition(".")[0]] for gene in self.genes[len(self.base.genes) :]])

    def reads_image(self, X: np.ndarray) -> np.ndarray:
        """As in the space of architectures."""
        return self.base.reads_image(self.architectures(X))

    # -- one architecture ----------------------------------------------------------------------

    def to_text(self, arch: Sequence[int] | np.ndarray) -> str:
        """The architecture's text, and a letter an operator: f (float), s (8 bits, symmetric) or a (asymmetric)."""
        arch = self.check(arch)
        values = self.decode(arch)
        found = [(values.get(f"{name}.bits"), values.get(f"{name}.mode")) for name in self.operators]
        letters = "".join(_LETTERS[bits, mode] for bits, mode in found if bits is not None)
        return f"{self.base.to_text(arch[: len(self.base.genes)])}{_SPLIT}{letters}"

    def parse(self, text: str) -> Architecture:
        """Genotype of what `to_text` wrote."""
        before, split, letters = text.strip().partition(_SPLIT)
        if not split:
            raise ArchitectureError(f"Architecture {text[:80]!r} lacks {_SPLIT!r} and a letter an operator: f, s or a.")
        arch = np.zeros(len(self.genes), dtype=np.int64)
        arch[: len(self.base.genes)] = self.base.parse(before)
        there = [name for name, on in zip(self.operators, self.present(arch)[0], strict=True) if on]
        if len(letters) != len(there):
            raise ArchitectureError(
                f"Architecture {text[:80]!r} has {len(letters)} letters after {_SPLIT!r} for {len(there)} operators."
            )
        for name, letter in zip(there, letters, strict=True):
            weights = f"{name}.mode" in self.index
            if letter not in ("f", "s", "a") or (letter == "a" and not weights):
                raise ArchitectureError(
                    f"Architecture {text[:80]!r}: operator {name} has letter {letter!r}, it must be f, s"
                    f"{' or a' if weights else '; it has no weights'}."
                )
            arch[self.index[f"{name}.bits"]] = BITS.index(32 if letter == "f" else 8)
            if weights:
                arch[self.index[f"{name}.mode"]] = int(letter == "a")
        return self.check(arch.tolist())

    def _check_operators(self) -> None:
        """Raises SpaceError unless the genes say of random architectures which operators they have."""
        X = self.sample(np.random.default_rng(0), _CHECKED)
        for x, there in zip(X, self.present(X), strict=True):
            own = {op.name for op in self.network(x).live}
            expected = {name for name, on in zip(self.operators, there, strict=True) if on}
            if own != expected:
                raise SpaceError(_OTHERWISE.format(space=self.base.name, op=sorted(own ^ expected)[0]))


_OTHERWISE = (
    "Mixed precision needs a space in which single genes such as depths decide which operators there are, "
    "as in ofa_mbv3 and ofa_resnet50; {op!r} of {space} is decided otherwise."
)


def _requirements(base: Space, names: set[str]) -> dict[str, tuple[str, int]]:
    """The gene and the least value that each operator of the largest network needs; absent where it is always there."""
    found: dict[str, tuple[str, int]] = {}
    for i, gene in enumerate(base.genes):
        for v in range(len(gene.choices) - 1):  # ascending: the last one wins
            x = base.cardinality - 1
            x[i] = v
            for name in names - {op.name for op in base.network(base.canonical(x)[0]).live}:
                found[name] = (gene.name, gene.choices[v + 1])
    return found
