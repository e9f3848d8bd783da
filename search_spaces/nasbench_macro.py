"""The NAS-Bench-Macro space (Su et al., CVPR 2021): eight layers of identity or inverted residuals."""

import re
from collections.abc import Sequence

import numpy as np

from search_spaces.builder import NetworkBuilder
from search_spaces.errors import ArchitectureError, SpaceError
from search_spaces.network import Network
from search_spaces.space import Architecture, Gene, Space

OPERATIONS = ("identity", "mb3_3x3", "mb6_5x5")  # written 0, 1, 2
_EXPANSION_KERNEL = {"mb3_3x3": (3, 3), "mb6_5x5": (6, 5)}
_LAYERS = ((64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1))  # channels, stride


class NASBenchMacroSpace(Space):
    """One operation a layer; see `nasbench_macro`.

    An identity that must change the shape is a 1 x 1 convolution with batch norm. Moving an
    identity within a stage gives the same network again; the benchmark lists all 6,561 texts,
    and so do we.
    """

    def __init__(self, num_classes: int, image_size: int) -> None:
        if num_classes < 1:
            raise SpaceError(f"num_classes (={num_classes}) must be at least 1.")
        if image_size < 8:
            raise SpaceError(f"image_size (={image_size}) must be at least 8.")
        self.name = "nasbench_macro"
        self.num_classes, self.image_size = num_classes, image_size
        self.options: dict[str, object] = {"num_classes": num_classes, "image_size": image_size}
        self.genes = tuple(Gene(f"block{i}.op", OPERATIONS) for i in range(1, len(_LAYERS) + 1))

    def network(self, arch: Sequence[int] | np.ndarray) -> Network:
        """The network of a genotype."""
        b = NetworkBuilder(self.name, in_channels=3, size=self.image_size)
        x = b.conv("stem", b.image, 32, kernel=3, activation="relu")
        for i, (choice, (channels, stride)) in enumerate(zip(self.check(arch), _LAYERS, strict=True), 1):
            width = b.shape(x)[0]
            if (operation := OPERATIONS[choice]) != "identity":
                t, kernel = _EXPANSION_KERNEL[operation]
                x = b.mbconv(
                    f"block{i}", x, channels, hidden=width * t, kernel=kernel, stride=stride, activation="relu"
                )
            elif stride != 1 or width != channels:
                x = b.conv(f"block{i}.skip", x, channels, stride=stride)
        x = b.conv("final_expand", x, 1280, activation="relu")
        b.linear("classifier", b.global_pool("pool", x), self.num_classes)
        return b.build()

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
    return NASBenchMacroSpace(num_classes, image_size)
