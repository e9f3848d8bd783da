"""`Space`: genes, genotypes and their vectorised operations. A new space writes its genes and `network()`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from search_spaces.architecture_text import Layout, layout, read, written
from search_spaces.errors import ArchitectureError
from search_spaces.gene import Architecture, Gene
from search_spaces.network import Network


class Space(ABC):
    """A search space: what can be built.

    A genotype is a row of choice indices, one per gene. It is canonical when every inactive
    gene is 0, so that one network has exactly one genotype. All methods that take `X` work on
    whole populations, int arrays `[n, genes]`.
    """

    name: str
    genes: tuple[Gene, ...]
    options: dict[str, object]  # get_space(reference, **options) makes this space again
    source: str = ""  # file.py:function of a space of the user's own
    blockwise: bool = True  # whether the operators of a block are decided by its own genes and the global ones
    free_widths: bool = False  # whether blocks have so many pairs of widths that one program shall serve them all
    few_blocks: bool = False  # whether all blocks at their true sizes may be compiled first; genes .kernel and .expand

    @property
    def reference(self) -> str:
        """The name by which `get_space` makes it again."""
        return self.source or self.name

    def part_columns(self, part: str) -> list[int] | None:
        """Columns of the genes that decide a part of the network ("stage1.block2"), whether it is there included.

        Only asked of a space that is not block-wise; None where all genes have a say.
        """
        del part
        return None

    @abstractmethod
    def network(self, arch: Sequence[int] | np.ndarray) -> Network:
        """The network of a genotype."""

    # -- gene tables ---------------------------------------------------------------------------

    @cached_property
    def index(self) -> dict[str, int]:
        """Column of every gene by name."""
        return {gene.name: i for i, gene in enumerate(self.genes)}

    @cached_property
    def cardinality(self) -> np.ndarray:
        """Number of choices of every gene, int array `[genes]`."""
        return np.array([len(gene.choices) for gene in self.genes])

    @property
    def largest(self) -> np.ndarray:
        """Genotype of the network with the most MACs, which teaches the others of a supernet; int array `[genes]`."""
        return self.cardinality - 1

    def largest_at(self, size: int | None) -> np.ndarray:
        """Genotype of the largest network at a resolution.

        Args:
            size: Pixels; None for the largest of the space. A space without such a gene has its one network.

        Raises:
            ArchitectureError: if it is not one of the space's resolutions.
        """
        x = self.largest
        if size is not None and "resolution" in self.index:
            column = self.index["resolution"]
            x[column] = self.genes[column].index_of(size)
        return x

    @property
    def smallest(self) -> np.ndarray:
        """Genotype of the network with the fewest MACs, int array `[genes]`."""
        return np.zeros_like(self.cardinality)

    @cached_property
    def size(self) -> int:
        """Exact number of distinct networks."""
        children: dict[str, list[Gene]] = {}
        for gene in self.genes:
            if gene.requires:
                children.setdefault(gene.requires[0], []).append(gene)

        def ways(gene: Gene) -> int:
            needed = [(c, gene.choices.index(c.requires[1])) for c in children.get(gene.name, ()) if c.requires]
            return sum(prod(ways(c) for c, least in needed if least <= i) for i in range(len(gene.choices)))

        return prod(ways(gene) for gene in self.genes if gene.requires is None)

    # -- populations ---------------------------------------------------------------------------

    def active(self, X: np.ndarray) -> np.ndarray:
        """Which genes matter, bool array `[n, genes]`."""
        X = np.atleast_2d(X)
        mask = np.ones(X.shape, dtype=bool)
        for i, gene in enumerate(self.genes):
            if gene.requires:
                parent = self.index[gene.requires[0]]
                needed = self.genes[parent].choices.index(gene.requires[1])
                mask[:, i] = mask[:, parent] & (X[:, parent] >= needed)
        return mask

    def canonical(self, X: np.ndarray) -> np.ndarray:
        """The same networks with inactive genes set to 0."""
        X = np.atleast_2d(np.asarray(X))
        return np.where(self.active(X), X, 0)

    def reads_image(self, X: np.ndarray) -> np.ndarray:
        """Whether the result depends on the image at all, bool `[n]`: a cell of some spaces can be cut in two."""
        return np.ones(len(np.atleast_2d(X)), dtype=bool)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`n` canonical genotypes, every gene drawn uniformly and independently."""
        return self.canonical(self._drawn(rng, n))

    def _drawn(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Genotypes before they are canonical: genes of blocks that are not there have random values too."""
        return rng.integers(0, self.cardinality, size=(n, len(self.genes)))

    def sample_of_every_size(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Random genotypes from the smallest networks to the largest, `[n, genes]`.

        Independent genes make networks of middling size. Here those of a genotype lean to the smallest or the largest
        network, each by a share of its own.
        """
        X, lean = self._drawn(rng, n), rng.uniform(-1, 1, (n, 1))
        ends = np.where(lean > 0, self.largest, self.smallest)
        return self.canonical(np.where(rng.random(X.shape) < abs(lean), ends, X))

    def ends(self) -> np.ndarray:
        """The architectures with the first and with the last choice of every gene, `[2, genes]`."""
        most = self.cardinality - 1
        return self.canonical(np.stack([np.zeros_like(most), most]))

    def spread(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """The space's ends, and networks of every size between them; half of `n`, to begin a search with.

        Genes drawn uniformly make networks of middling cost, and a predictor fitted on those alone knows
        nothing of the large ones. Here all genes of a network are drawn around one level of its own.
        """
        most = self.cardinality - 1
        levels = rng.random((max(1, n // 2), 1))
        between = rng.binomial(most, levels, size=(len(levels), len(most)))
        return np.concatenate([self.ends(), self.canonical(between)])

    def mutate(self, X: np.ndarray, rng: np.random.Generator, rate: float | np.ndarray = 0.1) -> np.ndarray:
        """Redraws every gene with probability `rate` (a number, or one per gene)."""
        X = np.atleast_2d(X)
        fresh = rng.integers(0, self.cardinality, size=X.shape)
        return self.canonical(np.where(rng.random(X.shape) < rate, fresh, X))

    def crossover(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Uniform crossover: each gene comes from either parent with probability 1/2."""
        A, B = np.atleast_2d(A), np.atleast_2d(B)
        return self.canonical(np.where(rng.random(A.shape) < 0.5, A, B))

    def one_hot(self, X: np.ndarray) -> np.ndarray:
        """Features float32 `[n, sum of cardinalities]`: one-hot genes, all zeros for an inactive gene."""
        X = np.atleast_2d(X)
        offsets = np.concatenate([[0], np.cumsum(self.cardinality)])
        features = np.zeros((len(X), offsets[-1]), dtype=np.float32)
        rows = np.repeat(np.arange(len(X))[:, None], X.shape[1], axis=1)
        features[rows, X + offsets[:-1]] = self.active(X)
        return features

    def encoding(self, X: np.ndarray) -> np.ndarray:
        """Features for learning from, float32 `[n, d]`: one-hot genes, unless a space knows better."""
        return self.one_hot(X)

    # -- one architecture ----------------------------------------------------------------------

    def check(self, arch: Sequence[int] | np.ndarray) -> Architecture:
        """The canonical genotype of `arch`.

        Raises:
            ArchitectureError: if it has the wrong length or an index out of range.
        """
        if len(arch) != len(self.genes):
            raise ArchitectureError(
                f"A genotype of {self.name} has {len(self.genes)} genes, got {len(arch)}; build one with space.encode."
            )
        for gene, value in zip(self.genes, arch, strict=True):
            if not 0 <= value < len(gene.choices):
                raise ArchitectureError(
                    f"Gene {gene.name!r} (={value}) must be an index of its choices {gene.choices}: "
                    f"0..{len(gene.choices) - 1}."
                )
        return tuple(int(v) for v in self.canonical(np.asarray(arch, dtype=np.int64))[0])

    def encode(self, values: Mapping[str, Any]) -> Architecture:
        """Genotype of named values; genes of inactive blocks may be missing.

        Raises:
            ArchitectureError: for an unknown gene, a value that is no choice, or a missing active gene.
        """
        if unknown := sorted(set(values) - set(self.index)):
            raise ArchitectureError(f"{self.name} has no gene {unknown[0]!r}; `nas describe {self.name}` lists them.")
        arch = np.zeros(len(self.genes), dtype=np.int64)
        for i, gene in enumerate(self.genes):
            if gene.name in values:
                arch[i] = gene.index_of(values[gene.name])
        for gene, active in zip(self.genes, self.active(arch)[0], strict=True):
            if active and gene.name not in values:
                raise ArchitectureError(f"Gene {gene.name!r} is active and needs a value out of {gene.choices}.")
        return self.check(arch.tolist())

    def decode(self, arch: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """Values of the active genes by name."""
        arch = self.check(arch)
        active = self.active(np.array(arch))[0]
        return {g.name: g.choices[v] for g, v, on in zip(self.genes, arch, active, strict=True) if on}

    def to_text(self, arch: Sequence[int] | np.ndarray) -> str:
        """One line without spaces, e.g. `r192_d2-k3e4-k5e6_...`: a group per stage, blocks joined by dashes."""
        return written(self, arch, self._layout)

    def parse(self, text: str) -> Architecture:
        """Genotype of what `to_text` wrote.

        Raises:
            ArchitectureError: naming the part that is malformed.
        """
        return read(self, text, self._layout)

    @cached_property
    def _layout(self) -> Layout:
        return layout(self.genes)
