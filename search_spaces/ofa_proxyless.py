"""The Once-for-All space of ProxylessNAS's blocks (Cai et al., ICLR 2020; released as ofa_proxyless)."""

from collections.abc import Iterable

from search_spaces.builder import make_divisible
from search_spaces.mbconv import MBConvSpace, MBConvSpec, Stage, distinct, elastic_options
from search_spaces.ofa_mbv3 import RESOLUTIONS
from search_spaces.proxyless import CHANNELS, DEPTHS, STRIDES


def ofa_proxyless(
    *,
    width: float = 1.0,
    num_classes: int = 1000,
    resolutions: int | Iterable[int] = RESOLUTIONS,
    stem_stride: int = 2,
    in_channels: int = 3,
) -> MBConvSpace:
    """Six stages, depth 2-4 (the last 1), expansion 3/4/6, kernel 3/5/7, ReLU6, resolution 128..224 step 4.

    ProxylessNAS's skeleton made elastic: blocks share weights, which those of `proxyless` do not. The
    published width is 1.3.

    Args:
        width: Multiplies every channel count, rounded to multiples of 8.
        num_classes: Outputs.
        resolutions: Image sizes in pixels to choose from; one number for a single size.
        stem_stride: 2 as published, or 1 for small pictures.
        in_channels: 3 for colour, 1 for grey pictures.
    """
    sizes = distinct(resolutions)
    options = elastic_options(width, num_classes, sizes, stem_stride, in_channels)
    stem, first, *middle, final = (make_divisible(channels * width) for channels in CHANNELS)
    stages = tuple(
        Stage(channels, stride, "relu6", squeeze_excite=False, depths=tuple(range(min(2, depth), depth + 1)))
        for channels, stride, depth in zip(middle, STRIDES, DEPTHS, strict=True)
    )
    spec = MBConvSpec(
        in_channels=in_channels,
        num_classes=num_classes,
        resolutions=sizes,
        stem_channels=stem,
        stem_stride=stem_stride,
        stem_activation="relu6",
        first_channels=first,
        first_activation="relu6",
        stages=stages,
        final_channels=final,
        feature_channels=0,
        head_activation="relu6",
    )
    return MBConvSpace("ofa_proxyless", spec, options)
