"""`Gene`: one decision of a search space."""

from dataclasses import dataclass
from typing import Any

from search_spaces.errors import ArchitectureError

Architecture = tuple[int, ...]  # index of the choice of every gene; 0 where a gene is inactive


@dataclass(frozen=True, slots=True)
class Gene:
    """One decision.

    Attributes:
        name: Path like "stage1.block2.kernel"; a name without a dot is global.
        choices: The values: whole numbers in ascending order of cost, or names.
        requires: (gene, value): active only where that earlier gene has that choice or a later one.
    """

    name: str
    choices: tuple[Any, ...]
    requires: tuple[str, int] | None = None

    @property
    def tag(self) -> str:
        """The letter that stands for it in an architecture's text."""
        return self.name.rpartition(".")[2][0]

    def index_of(self, value: Any) -> int:
        """Which choice a value is.

        Raises:
            ArchitectureError: if it is none.
        """
        if value not in self.choices:
            raise ArchitectureError(f"Gene {self.name!r} (={value}) must be one of {self.choices}.")
        return self.choices.index(value)
