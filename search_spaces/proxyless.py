"""The ProxylessNAS space (Cai et al., ICLR 2019): 21 layers of inverted residual blocks."""

from collections.abc import Sequence

from search_spaces.choice import ChoiceSpace, ChoiceSpec, candidates, scaled_channels, stages

CANDIDATES = candidates("skip k3e3 k5e3 k7e3 k3e6 k5e6 k7e6")
CHANNELS = (32, 16, 24, 40, 80, 96, 192, 320, 1280)  # stem, first block, six stages, final
DEPTHS = (4, 4, 4, 4, 4, 1)
STRIDES = (2, 2, 2, 1, 2, 1)


def proxyless(
    *,
    num_classes: int = 1000,
    image_size: int = 224,
    width: float = 1.0,
    channels: Sequence[int] = CHANNELS,
    stem_stride: int = 2,
    in_channels: int = 3,
) -> ChoiceSpace:
    """21 layers of six blocks, kernel 3/5/7 and expansion 3/6; where the shape stays, also skip.

    The published networks are members: proxyless_mobile with channels
    32,16,32,40,80,96,192,320,1280, proxyless_cpu with 40,24,32,48,88,104,216,360,1432 and
    proxyless_gpu with 40,24,32,56,112,128,256,432,1728.

    Args:
        num_classes: Outputs.
        image_size: Height and width in pixels.
        width: Multiplies every channel count, rounded to multiples of 8.
        channels: Of the stem, the fixed first block, the six stages and the last convolution.
        stem_stride: 2 as published, or 1 for small pictures.
        in_channels: 3 for colour, 1 for grey pictures.
    """
    stem, first, *middle, final = scaled_channels("proxyless", channels, width, len(CHANNELS))
    spec = ChoiceSpec(
        in_channels=in_channels,
        num_classes=num_classes,
        image_size=image_size,
        stem_channels=stem,
        stem_stride=stem_stride,
        activation="relu6",
        first_channels=first,
        layers=stages(middle, DEPTHS, STRIDES, CANDIDATES, skip_everywhere=False, in_channels=first),
        final_channels=final,
    )
    options: dict[str, object] = {
        "num_classes": num_classes,
        "image_size": image_size,
        "width": width,
        "channels": list(channels),
        "stem_stride": stem_stride,
        "in_channels": in_channels,
    }
    return ChoiceSpace("proxyless", spec, options)
