"""The elastic network of Once-for-All over any `MBConvSpace`: one set of weights, one program, every subnet.

The genotype is an argument of the compiled program. Depth skips blocks (`lax.cond`), the kernel
size picks a branch of the depthwise convolution, the width masks the trailing channels. Module
and operator names agree: the weights of operator "stage1.block2.expand" of a `Network` are those
of the module at that path.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from search_spaces import MBConvSpace
from search_spaces.mbconv import Stage, hidden_channels, se_channels
from search_spaces.operators import Activation
from supernets.depthwise import depthwise
from supernets.layers import ACTIVATIONS, Moments, convolution, normalise, pointwise

Array = jax.Array
Stats = dict[str, Moments]


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> nnx.Param:
    """Fresh weights; drawn by numpy, which compiles nothing."""
    return nnx.Param(
        jnp.asarray(rng.standard_normal(shape, dtype=np.float32) * np.sqrt(2.0 / fan_in).astype(np.float32))
    )


class Conv(nnx.Module):
    """Convolution `[k, k, c, o]` (`[c, o]` for k = 1) with batch norm, or with neither norm nor bias."""

    def __init__(
        self, channels: int, out: int, *, kernel: int = 1, norm: bool = True, rng: np.random.Generator
    ) -> None:
        shape = (channels, out) if kernel == 1 else (kernel, kernel, channels, out)
        self.kernel = he_normal(rng, shape, channels * kernel**2)
        if norm:
            self.gamma = nnx.Param(jnp.ones(out))
            self.beta = nnx.Param(jnp.zeros(out))

    def __call__(self, x: Array, given: Moments | None, *, stride: int = 1) -> tuple[Array, Moments]:
        kernel = self.kernel[...]
        y = pointwise(x, kernel) if kernel.ndim == 2 else convolution(x, kernel, stride=stride)
        return normalise(y, self.gamma[...], self.beta[...], given)


class Depthwise(nnx.Module):
    """Depthwise filters of several sizes out of the largest (OFA, section 3.2).

    Each smaller filter is the centre of the next larger one times a matrix that all channels
    share, the identity at the start: w5 = centre(w7) M7to5.
    """

    def __init__(self, channels: int, kernels: tuple[int, ...], *, rng: np.random.Generator) -> None:
        self.kernels = tuple(sorted(kernels))
        largest = self.kernels[-1]
        self.kernel = he_normal(rng, (largest, largest, channels), largest**2)
        self.gamma = nnx.Param(jnp.ones(channels))
        self.beta = nnx.Param(jnp.zeros(channels))
        for k in self.kernels[:-1]:
            setattr(self, f"to{k}", nnx.Param(jnp.eye(k * k)))

    def __call__(self, x: Array, choice: Array, given: Moments | None, *, stride: int) -> tuple[Array, Moments]:
        matrices = {k: getattr(self, f"to{k}")[...] for k in self.kernels[:-1]}
        filters = smaller_filters(self.kernel[...], matrices)
        y = depthwise(x, [filters[k] for k in self.kernels], choice, stride)
        return normalise(y, self.gamma[...], self.beta[...], given)


def smaller_filters(largest: Any, matrices: Mapping[int, Any]) -> dict[int, Any]:
    """Filters `[k, k, c]` by size: the largest, and each smaller one from the centre of the next larger.

    Args:
        largest: `[k, k, c]`, of JAX or numpy, and so are the results.
        matrices: `[k * k, k * k]` by the size they lead to; entry [i, j] weighs tap j in tap i.
    """
    filters, w = {largest.shape[0]: largest}, largest
    for k in sorted(matrices, reverse=True):
        margin = (w.shape[0] - k) // 2
        centre = w[margin : margin + k, margin : margin + k]
        w = (matrices[k] @ centre.reshape(k * k, -1)).reshape(centre.shape)
        filters[k] = w
    return filters


class Affine(nnx.Module):
    """Matrix product with bias."""

    def __init__(self, channels: int, out: int, *, rng: np.random.Generator) -> None:
        self.kernel = he_normal(rng, (channels, out), channels)
        self.bias = nnx.Param(jnp.zeros(out))

    def __call__(self, x: Array) -> Array:
        return x @ self.kernel[...] + self.bias[...]


class SqueezeExcite(nnx.Module):
    """Squeeze-and-excitation with an elastic inner width."""

    def __init__(self, channels: int, hidden: int, *, rng: np.random.Generator) -> None:
        self.reduce = Affine(channels, hidden, rng=rng)
        self.expand = Affine(hidden, channels, rng=rng)

    def __call__(self, y: Array, width: Array) -> Array:
        z = ACTIVATIONS["relu"](self.reduce(y.mean(axis=(1, 2))))
        z = _keep_first(z, width)
        return y * ACTIVATIONS["hsigmoid"](self.expand(z))[:, None, None, :]


def _keep_first(y: Array, width: Array) -> Array:
    """Zeroes the channels from `width` on."""
    return jnp.where(jnp.arange(y.shape[-1]) < width, y, 0.0)


class Block(nnx.Module):
    """Inverted residual block, elastic in kernel and width."""

    def __init__(self, channels: int, stage: Stage, stride: int, *, rng: np.random.Generator) -> None:
        self.activation, self.stride = stage.activation, stride
        self.residual = stride == 1 and channels == stage.channels
        self.widths = tuple(hidden_channels(channels, e) for e in stage.expands)
        self.se_widths = tuple(se_channels(h) for h in self.widths)
        hidden = max(self.widths)
        self.expand = Conv(channels, hidden, rng=rng)
        self.depthwise = Depthwise(hidden, stage.kernels, rng=rng)
        if stage.squeeze_excite:
            self.se = SqueezeExcite(hidden, max(self.se_widths), rng=rng)
        self.project = Conv(hidden, stage.channels, rng=rng)
        if self.residual:  # starts as the identity (Goyal et al. 2017), which deep and shallow subnets share
            self.project.gamma[...] = jnp.zeros(stage.channels)

    def __call__(self, x: Array, kernel: Array, expand: Array, given: Stats | None) -> tuple[Array, Stats]:
        """Output and the moments of its three batch norms.

        Args:
            x: `[n, h, w, c]`.
            kernel: Choice of the kernel size, int32 scalar.
            expand: Choice of the expansion, int32 scalar.
            given: Moments to use by layer; those of the batch if None.
        """
        given, stats = given or {}, {}
        act = ACTIVATIONS[self.activation]
        width = jnp.asarray(self.widths)[expand]
        y, stats["expand"] = self.expand(x, given.get("expand"))
        y = _keep_first(act(y), width)
        y, stats["depthwise"] = self.depthwise(y, kernel, given.get("depthwise"), stride=self.stride)
        y = _keep_first(act(y), width)
        if hasattr(self, "se"):
            y = self.se(y, jnp.asarray(self.se_widths)[expand])
        y, stats["project"] = self.project(y, given.get("project"))
        return (x + y if self.residual else y), stats


class FirstBlock(nnx.Module):
    """The fixed block after the stem: depthwise 3 x 3, projection, no expansion."""

    def __init__(self, channels: int, out: int, activation: Activation, *, rng: np.random.Generator) -> None:
        self.residual, self.activation = channels == out, activation
        self.depthwise = Depthwise(channels, (3,), rng=rng)
        self.project = Conv(channels, out, rng=rng)

    def __call__(self, x: Array, given: Stats | None) -> tuple[Array, Stats]:
        given, stats = given or {}, {}
        y, stats["depthwise"] = self.depthwise(x, jnp.int32(0), given.get("depthwise"), stride=1)
        y, stats["project"] = self.project(ACTIVATIONS[self.activation](y), given.get("project"))
        return (x + y if self.residual else y), stats


class ElasticStage(nnx.Module):
    """Blocks of one stage; the first always runs, the others as the depth says."""

    def __init__(self, channels: int, stage: Stage, *, rng: np.random.Generator) -> None:
        for b in range(1, max(stage.depths) + 1):
            stride = stage.stride if b == 1 else 1
            setattr(self, f"block{b}", Block(channels, stage, stride, rng=rng))
            channels = stage.channels


class Supernet(nnx.Module):
    """All networks of a space.

    Args:
        space: The space.
        rng: Of the initial weights (He normal; transformation matrices start as identities).
    """

    def __init__(self, space: MBConvSpace, *, rng: np.random.Generator) -> None:
        spec = space.spec
        self.spec = spec
        self.columns = dict(space.index)
        self.stem = Conv(spec.in_channels, spec.stem_channels, kernel=3, rng=rng)
        self.first = FirstBlock(spec.stem_channels, spec.first_channels, spec.first_activation, rng=rng)
        channels = spec.first_channels
        for s, stage in enumerate(spec.stages, 1):
            setattr(self, f"stage{s}", ElasticStage(channels, stage, rng=rng))
            channels = stage.channels
        self.final_expand = Conv(channels, spec.final_channels, rng=rng)
        if spec.feature_channels:
            self.feature_mix = Conv(spec.final_channels, spec.feature_channels, norm=False, rng=rng)
        self.classifier = Affine(spec.features, spec.num_classes, rng=rng)

    def __call__(
        self, images: Array, genes: Array, given: Stats | None = None, dropout: Array | None = None
    ) -> tuple[Array, Stats]:
        """Logits of the subnet that `genes` chooses.

        Args:
            images: Normalised images `[n, h, w, c]`; their size decides the program, not the gene.
            genes: Canonical genotype, int32 `[genes]`; may be traced.
            given: Moments of the batch norms by operator name; those of the batch if None.
            dropout: Mask `[n, features]`, already scaled, before the classifier.

        Returns:
            Logits `[n, classes]`, and the moments used by operator name (zeros in skipped blocks).
        """
        stats: Stats = {}

        def collect(prefix: str, found: Stats) -> None:
            stats.update({f"{prefix}.{name}": value for name, value in found.items()})

        def of(prefix: str) -> Stats | None:
            if given is None:
                return None
            return {name.removeprefix(f"{prefix}."): v for name, v in given.items() if name.startswith(f"{prefix}.")}

        spec = self.spec
        x, stats["stem"] = self.stem(images, _one(given, "stem"), stride=spec.stem_stride)
        x, found = self.first(ACTIVATIONS[spec.stem_activation](x), of("first"))
        collect("first", found)
        for s, stage in enumerate(spec.stages, 1):
            blocks = getattr(self, f"stage{s}")
            depth = jnp.asarray(stage.depths)[genes[self.columns[f"stage{s}.depth"]]]
            for b in range(1, max(stage.depths) + 1):
                name = f"stage{s}.block{b}"
                kernel, expand = (genes[self.columns[f"{name}.{gene}"]] for gene in ("kernel", "expand"))
                block = getattr(blocks, f"block{b}")
                x, found = _run(block, x, kernel, expand, of(name), None if b <= min(stage.depths) else b <= depth)
                collect(name, found)
        x, stats["final_expand"] = self.final_expand(x, _one(given, "final_expand"))
        x = ACTIVATIONS[spec.head_activation](x).mean(axis=(1, 2))
        if spec.feature_channels:
            x = ACTIVATIONS[spec.head_activation](pointwise(x, self.feature_mix.kernel[...]))
        if dropout is not None:
            x = x * dropout
        return self.classifier(x), stats


def _one(given: Stats | None, name: str) -> Moments | None:
    return None if given is None else given[name]


def _run(
    block: Block, x: Array, kernel: Array, expand: Array, given: Stats | None, active: Array | None
) -> tuple[Array, Stats]:
    """The block, or its input and zero moments where it is skipped."""
    if active is None:  # within the smallest depth: always there
        return block(x, kernel, expand, given)
    shapes = {"expand": max(block.widths), "depthwise": max(block.widths), "project": x.shape[-1]}
    zeros = {name: (jnp.zeros(c, x.dtype), jnp.zeros(c, x.dtype)) for name, c in shapes.items()}
    return lax.cond(active, lambda x: block(x, kernel, expand, given), lambda x: (x, zeros), x)
