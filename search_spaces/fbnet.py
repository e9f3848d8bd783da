"""The FBNet space (Wu et al., CVPR 2019): 22 layers, nine blocks to choose from in each."""

from collections.abc import Sequence

from search_spaces.choice import ChoiceSpace, ChoiceSpec, candidates, scaled_channels, stages

CANDIDATES = candidates("skip k3e1g2 k5e1g2 k3e1 k5e1 k3e3 k5e3 k3e6 k5e6")
CHANNELS = (16, 16, 24, 32, 64, 112, 184, 352, 1504)  # stem, seven stages, final
DEPTHS = (1, 4, 4, 4, 4, 4, 1)
STRIDES = (1, 2, 2, 2, 1, 2, 1)


def fbnet(
    *,
    num_classes: int = 1000,
    image_size: int = 224,
    width: float = 1.0,
    channels: Sequence[int] = CHANNELS,
    stem_stride: int = 2,
    in_channels: int = 3,
) -> ChoiceSpace:
    """22 layers of nine blocks: kernel 3/5, expansion 1 (in 1 or 2 groups), 3 or 6, or skip.

    FBNet-A is a member as it stands, FBNet-B and C with 1984 final channels. A skip that must
    change the shape is a 1 x 1 convolution, as in FBNet's own code.

    Args:
        num_classes: Outputs.
        image_size: Height and width in pixels.
        width: Multiplies every channel count, rounded to multiples of 8.
        channels: Of the stem, the seven stages and the last convolution.
        stem_stride: 2 as published, or 1 for small pictures.
        in_channels: 3 for colour, 1 for grey pictures.
    """
    stem, *middle, final = scaled_channels("fbnet", channels, width, len(CHANNELS))
    spec = ChoiceSpec(
        in_channels=in_channels,
        num_classes=num_classes,
        image_size=image_size,
        stem_channels=stem,
        stem_stride=stem_stride,
        activation="relu",
        first_channels=0,
        layers=stages(middle, DEPTHS, STRIDES, CANDIDATES, skip_everywhere=True, in_channels=stem),
        final_channels=final,
        skip_activation="relu",
    )
    options: dict[str, object] = {
        "num_classes": num_classes,
        "image_size": image_size,
        "width": width,
        "channels": list(channels),
        "stem_stride": stem_stride,
        "in_channels": in_channels,
    }
    return ChoiceSpace("fbnet", spec, options)
