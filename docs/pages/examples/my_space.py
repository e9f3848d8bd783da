"""A search space of our own: three stages of inverted bottlenecks for small pictures."""

from search_spaces.mbconv import MBConvSpace, MBConvSpec, Stage


def small(num_classes: int = 10, resolutions: tuple[int, ...] = (32,), stem_stride: int = 1, in_channels: int = 3):
    """Depth 1-3, expansion 2/4, kernel 3/5 in three stages."""
    stages = tuple(
        Stage(
            channels,
            stride=2,
            activation="relu",
            squeeze_excite=False,
            depths=(1, 2, 3),
            kernels=(3, 5),
            expands=(2, 4),
        )
        for channels in (16, 24, 40)
    )
    spec = MBConvSpec(
        in_channels=in_channels,
        num_classes=num_classes,
        resolutions=(resolutions,) if isinstance(resolutions, int) else tuple(resolutions),
        stem_channels=16,
        stem_stride=stem_stride,
        stem_activation="relu",
        first_channels=16,
        stages=stages,
        final_channels=96,
        feature_channels=128,
        head_activation="relu",
    )
    return MBConvSpace("small", spec, {})
