"""The Once-for-All MobileNetV3 space (Cai et al., ICLR 2020)."""

from collections.abc import Iterable

from search_spaces.builder import make_divisible
from search_spaces.mbconv import MBConvSpace, MBConvSpec, Stage, distinct, elastic_options

RESOLUTIONS = tuple(range(128, 225, 4))


def ofa_mbv3(
    *,
    width: float = 1.0,
    num_classes: int = 1000,
    resolutions: int | Iterable[int] = RESOLUTIONS,
    stem_stride: int = 2,
    in_channels: int = 3,
) -> MBConvSpace:
    """Five stages, depth 2-4, expansion 3/4/6, kernel 3/5/7, resolution 128..224 step 4.

    Squeeze-excite and h-swish sit where MobileNetV3-Large has them. The published widths are
    1.0 and 1.2. For small pictures, `stem_stride=1` keeps the maps large enough: at 28, 32 and
    64 px the last stage then works on 2, 2 and 4 px.

    Args:
        width: Multiplies every channel count, rounded to multiples of 8.
        num_classes: Outputs.
        resolutions: Image sizes in pixels to choose from; one number for a single size.
        stem_stride: 2 as published, or 1.
        in_channels: 3 for colour, 1 for grey pictures.
    """
    sizes = distinct(resolutions)
    options = elastic_options(width, num_classes, sizes, stem_stride, in_channels)

    def scaled(channels: int) -> int:
        return make_divisible(channels * width)

    stages = (
        Stage(scaled(24), stride=2, activation="relu", squeeze_excite=False),
        Stage(scaled(40), stride=2, activation="relu", squeeze_excite=True),
        Stage(scaled(80), stride=2, activation="hswish", squeeze_excite=False),
        Stage(scaled(112), stride=1, activation="hswish", squeeze_excite=True),
        Stage(scaled(160), stride=2, activation="hswish", squeeze_excite=True),
    )
    spec = MBConvSpec(
        in_channels=in_channels,
        num_classes=num_classes,
        resolutions=sizes,
        stem_channels=scaled(16),
        stem_stride=stem_stride,
        stem_activation="hswish",
        first_channels=scaled(16),
        stages=stages,
        final_channels=scaled(960),
        feature_channels=scaled(1280),
        head_activation="hswish",
    )
    return MBConvSpace("ofa_mbv3", spec, options)
