"""The NAS-Bench-Macro space (Su et al., CVPR 2021): eight layers of identity or inverted residuals."""

import re
from collections.abc import Sequence

import numpy as np

from search_spaces.choice import Candidate, ChoiceLayer, ChoiceSpace, ChoiceSpec
from search_spaces.errors import ArchitectureError
from search_spaces.gene import Architecture

CANDIDATES = (Candidate("identity"), Candidate("mb3_3x3", 3, 3), Candidate("mb6_5x5", 5, 6))  # written 0, 1, 2
_LAYERS = ((64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1))  # channels, stride


class NASBenchMacroSpace(ChoiceSpace):
    """One operation a layer; see `nasbench_macro`.

    An identity that must change the shape is a 1 x 1 convolution with batch norm. Moving an
    identity within a stage gives the same network again; the benchmark lists all 6,561 texts,
    and so do we.
    """

    def to_text(self, arch: Sequence[int] | np.ndarray) -> str:
        """The benchmark's own eight digits, e.g. `01221002`."""
        return "".join(map(str, self.check(arch)))

    def parse(self, text: str) -> Architecture:
        """Genotype of what `to_text` wrote.

        Raises:
            ArchitectureError: if it is anything but eight digits 0..2.
        """
        if not re.fullmatch(rf"[0-2]{{{len(_LAYERS)}}}", text.strip()):
            raise ArchitectureError(f"Architecture {text[:80]!r} must be {len(_LAYERS)} digits 0..2, like '01221002'.")
        return tuple(map(int, text.strip()))


def nasbench_macro(*, num_classes: int = 10, image_size: int = 32) -> NASBenchMacroSpace:
    """Eight layers of identity or inverted residuals (3x, k3; 6x, k5); all trained and published as NAS-Bench-Macro.

    Args:
        num_classes: Outputs.
        image_size: Height and width in pixels.
    """
    spec = ChoiceSpec(
        in_channels=3,
        num_classes=num_classes,
        image_size=image_size,
        stem_channels=32,
        stem_stride=1,
        activation="relu",
        first_channels=0,
        layers=tuple(ChoiceLayer(channels, stride, CANDIDATES) for channels, stride in _LAYERS),
        final_channels=1280,
    )
    return NASBenchMacroSpace("nasbench_macro", spec, {"num_classes": num_classes, "image_size": image_size})
