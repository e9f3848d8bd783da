"""Depthwise convolution for GPUs as Pallas kernels (Triton), which need no choosing of algorithms.

A thread holds a few channels of one image, a program a row of columns for many (image, channel) pairs;
pairs are numbered through, so that no lane idles whatever the number of channels. Programs walk down
the rows: an input row is read once for each column shift and feeds all the output rows that it touches,
whose sums stay in registers, as do the taps. Sums are single precision.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array


class Tile(NamedTuple):
    """What a program works on.

    Attributes:
        columns: Output columns (of the smaller map), a power of two.
        channels: A thread's, read at once.
        warps: Of 32 threads.
        pairs: (image, channel) pairs, a power of two.
    """

    columns: int
    channels: int
    warps: int
    pairs: int


def _tile(width: int, share: int, columns: int = 16) -> Tile:
    """A tile for a map of this width, of which a thread holds about `share` elements (as the registers allow)."""
    columns = min(columns, 1 << (width - 1).bit_length())
    return Tile(columns, 2, max(1, 2 * columns // share), 64)


# By kernel size, for a map of 16 columns; fastest of what was tried on an H100 (supernets/README.md).
_SPREAD_SHARE = {1: 16, 3: 16, 5: 16, 7: 8}
_FILTER_SHARE = {1: 16, 3: 16, 5: 4, 7: 4}


def forward(x: Array, w: Array, stride: int, chosen: Tile | None = None) -> Array:
    """Depthwise convolution of `[n, h, w, c]` with `[k, k, c]`, padding k // 2."""
    n, height, width, c = x.shape
    out = (-(-height // stride), -(-width // stride))
    chosen = chosen or _tile(out[1], 16 if out[1] > 8 else 8)
    kernel = partial(_forward_kernel, shape=(n, height, width, c), k=w.shape[0], stride=stride, tile=chosen)
    return _call(kernel, chosen, n * c, out[1], jax.ShapeDtypeStruct((n * out[0] * out[1] * c,), x.dtype))(
        x.reshape(-1), w.astype(jnp.float32).reshape(-1)
    ).reshape(n, *out, c)


def input_gradient(g: Array, w: Array, stride: int, size: tuple[int, int], chosen: Tile | None = None) -> Array:
    """Gradient of the input, `[n, *size, c]`, from that of the output."""
    n, _, out, c = g.shape
    k = w.shape[0]
    chosen = chosen or _tile(out, (16 if out > 8 else 8) if stride == 1 else _SPREAD_SHARE.get(k, 8))
    kernel = partial(_input_kernel, shape=g.shape, size=size, k=k, stride=stride, tile=chosen)
    found = jax.ShapeDtypeStruct((n * size[0] * size[1] * c,), g.dtype)
    return _call(kernel, chosen, n * c, -(-size[1] // stride), found)(
        g.reshape(-1), w.astype(jnp.float32).reshape(-1)
    ).reshape(n, *size, c)


_THREADS = 132 * 640  # what a GPU of today keeps busy


def filter_gradient(x: Array, g: Array, k: int, stride: int, chosen: Tile | None = None) -> Array:
    """Gradient of the filter, `[k, k, c]` in single precision."""
    n, height, width, c = x.shape
    chosen = chosen or _tile(g.shape[2], _FILTER_SHARE.get(k, 4), columns=8 if k == 5 else 16)
    strips = -(-g.shape[2] // chosen.columns)
    # a program adds up every `groups`-th image; what the groups found is added afterwards
    groups = min(n, -(-_THREADS * chosen.pairs // (32 * chosen.warps * strips * c)))
    kernel = partial(_filter_kernel, shape=x.shape, out=g.shape[1:3], groups=groups, k=k, stride=stride, tile=chosen)
    found = jax.ShapeDtypeStruct((strips * groups * k * k * c,), jnp.float32)
    parts = _call(kernel, chosen, groups * c, g.shape[2], found)(x.reshape(-1), g.reshape(-1))
    return parts.reshape(strips * groups, k * k * c).sum(axis=0).reshape(k, k, c)


def interpreted() -> bool:
    """Whether kernels are run by JAX's own operations, for tests without a GPU."""
    return jax.default_backend() == "cpu"


def _call(kernel: Callable[..., None], chosen: Tile, pairs: int, width: int, out: jax.ShapeDtypeStruct) -> Any:
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    return pl.pallas_call(
        kernel,
        out_shape=out,
        grid=(-(-pairs // chosen.pairs), -(-width // chosen.columns)),
        compiler_params=triton.CompilerParams(num_warps=chosen.warps, num_stages=1),
        interpret=interpreted(),
        name=kernel.func.__name__.strip("_"),  # type: ignore[attr-defined]
    )


class _Lanes(NamedTuple):
    """Of a program: image and channel of each pair, `[pairs, channels]`; which exist; its columns `[columns, 1, 1]`."""

    image: Array
    channel: Array
    exist: Array | None
    columns: Array


def _lanes(tile: Tile, pairs: int, channels: int, columns: bool = True) -> _Lanes:
    from jax.experimental import pallas as pl

    shape: tuple[int, ...] = (tile.pairs // tile.channels, tile.channels)
    shape, inner = ((tile.columns, *shape), 1) if columns else (shape, 0)
    iota = partial(lax.broadcasted_iota, jnp.int32, shape)
    # two axes, the inner one as long as a read is wide: Triton then gives each thread just these
    pair = pl.program_id(0) * tile.pairs + iota(inner) * tile.channels + iota(inner + 1)
    exist = None if pairs % tile.pairs == 0 else pair < pairs
    return _Lanes(pair // channels, pair % channels, exist, pl.program_id(1) * tile.columns + iota(0))


def _both(*masks: Array | None) -> Array | None:
    found = None
    for mask in masks:
        if mask is not None:
            found = mask if found is None else found & mask
    return found


def _read(ref: Any, at: Array, mask: Array | None) -> Array:
    from jax.experimental.pallas import triton

    if mask is None:
        return triton.load(ref.at[at]).astype(jnp.float32)
    return triton.load(ref.at[at], mask=mask, other=0.0).astype(jnp.float32)


def _write(ref: Any, at: Array, value: Array, mask: Array | None) -> None:
    from jax.experimental.pallas import triton

    triton.store(ref.at[at], value.astype(ref.dtype), mask=mask)


def _taps(w_ref: Any, lanes: _Lanes, k: int, channels: int) -> list[Array]:
    mask = lanes.exist
    return [_read(w_ref, lanes.channel + t * channels, mask) for t in range(k * k)]


class _Rows(NamedTuple):
    """Input row s * m + a meets output row m + d through tap i: all (i, d) by a, and the range of d."""

    met: list[list[tuple[int, int]]]
    low: int
    high: int


def _rows(k: int, stride: int) -> _Rows:
    p = k // 2
    met = [[(i, (a + p - i) // stride) for i in range(k) if (a + p - i) % stride == 0] for a in range(stride)]
    every = [d for pairs in met for _, d in pairs]
    return _Rows(met, min(every), max(every))


def _zeros(tile: Tile) -> Array:
    return jnp.zeros((tile.columns, tile.pairs // tile.channels, tile.channels), jnp.float32)


def _forward_kernel(x_ref: Any, w_ref: Any, y_ref: Any, *, shape: tuple, k: int, stride: int, tile: Tile) -> None:
    n, height, width, c = shape
    p, rows, lanes = k // 2, _rows(k, stride), _lanes(tile, n * c, c)
    out_height, out_width = -(-height // stride), -(-width // stride)
    taps = _taps(w_ref, lanes, k, c)
    source = lanes.image * (height * width * c) + lanes.channel
    target = lanes.image * (out_height * out_width * c) + lanes.columns * c + lanes.channel
    wanted = _both(lanes.exist, lanes.columns < out_width if out_width % tile.columns else None)

    def put(row: Any, value: Array, inside: Any) -> None:
        _write(y_ref, target + row * (out_width * c), value, inside if wanted is None else inside & wanted)

    def step(m: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        found = list(sums)
        for a in range(stride):
            row = stride * m + a
            for j in range(k):
                column = lanes.columns * stride + (j - p)
                inside = _both(lanes.exist, (column >= 0) & (column < width), row < height if a else None)
                x = _read(x_ref, source + (row * width + column) * c, inside)
                for i, d in rows.met[a]:
                    found[d - rows.low] += x * taps[i * k + j]
        row = m + rows.low
        put(row, found[0], jnp.broadcast_to(row >= 0, found[0].shape))
        return (*found[1:], _zeros(tile))

    sums = lax.fori_loop(0, out_height, step, (_zeros(tile),) * (rows.high - rows.low + 1))
    for e in range(-rows.low):
        if (row := out_height + rows.low + e) >= 0:
            put(row, sums[e], jnp.full(sums[e].shape, True))


def _input_kernel(
    g_ref: Any, w_ref: Any, x_ref: Any, *, shape: tuple, size: tuple[int, int], k: int, stride: int, tile: Tile
) -> None:
    n, out_height, out_width, c = shape
    p, lanes = k // 2, _lanes(tile, n * c, c)
    height, width = size
    taps = _taps(w_ref, lanes, k, c)
    source = lanes.image * (out_height * out_width * c) + lanes.channel
    target = lanes.image * (height * width * c) + lanes.columns * (stride * c) + lanes.channel
    # input column s * t + b is met by output column t + e through tap j
    met = [(b, j, (b + p - j) // stride) for b in range(stride) for j in range(k) if (b + p - j) % stride == 0]

    def put(row: Any, b: int, value: Array) -> None:
        inside = _both(lanes.exist, lanes.columns * stride + b < width)
        at = jnp.broadcast_to(target + (row * width + b) * c, value.shape)
        _write(x_ref, at, value, _both(inside, jnp.broadcast_to((row >= 0) & (row < height), value.shape)))

    def step(u: Array, sums: tuple[tuple[Array, ...], ...]) -> tuple[tuple[Array, ...], ...]:
        found = [list(row) for row in sums]
        for e in sorted({e for _, _, e in met}):
            column = lanes.columns + e
            inside = _both(lanes.exist, (column >= 0) & (column < out_width))
            g = _read(g_ref, source + (u * out_width + column) * c, inside)
            for b, j, shift in met:
                if shift == e:
                    for i in range(k):
                        found[i][b] += g * taps[i * k + j]
        for i in range(stride):  # nothing further down touches these
            for b in range(stride):
                put(stride * u - p + i, b, found[i][b])
        return (*map(tuple, found[stride:]), *(((_zeros(tile),) * stride,) * stride))

    depth = max(k, stride)
    sums = lax.fori_loop(0, out_height, step, (((_zeros(tile),) * stride),) * depth)
    for i in range(depth - stride):
        if 0 <= (row := stride * out_height - p + i) < height:
            for b in range(stride):
                put(jnp.int32(row), b, sums[i][b])


def _filter_kernel(
    x_ref: Any, g_ref: Any, w_ref: Any, *, shape: tuple, out: tuple, groups: int, k: int, stride: int, tile: Tile
) -> None:
    from jax.experimental import pallas as pl

    n, height, width, c = shape
    p, rows, lanes = k // 2, _rows(k, stride), _lanes(tile, groups * c, c)
    out_height, out_width = out

    def image(q: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        index = lanes.image + q * groups
        exist = _both(lanes.exist, index < n if n % groups else None)
        x_source = index * (height * width * c) + lanes.channel
        g_source = index * (out_height * out_width * c) + lanes.columns * c + lanes.channel
        g_exist = _both(exist, lanes.columns < out_width if out_width % tile.columns else None)

        def output_row(row: Any) -> Array:
            inside = jnp.broadcast_to((row >= 0) & (row < out_height), g_source.shape)
            return _read(g_ref, g_source + row * (out_width * c), _both(g_exist, inside))

        def step(m: Array, carry: tuple[tuple[Array, ...], tuple[Array, ...]]) -> Any:
            found, window = list(carry[0]), (*carry[1], output_row(m + rows.high))
            for a in range(stride):
                row = stride * m + a
                for j in range(k):
                    column = lanes.columns * stride + (j - p)
                    inside = _both(exist, (column >= 0) & (column < width), row < height if a else None)
                    x = _read(x_ref, x_source + (row * width + column) * c, inside)
                    for i, d in rows.met[a]:
                        found[i * k + j] += x * window[d - rows.low]
            return tuple(found), window[1:]

        first = tuple(output_row(jnp.int32(d)) if d >= 0 else _zeros(tile) for d in range(rows.low, rows.high))
        return lax.fori_loop(0, out_height, step, (sums, first))[0]

    sums = lax.fori_loop(0, -(-n // groups), image, (_zeros(tile),) * (k * k))
    one = _lanes(tile, groups * c, c, columns=False)
    at = (pl.program_id(1) * groups + one.image) * (k * k * c) + one.channel
    for t, total in enumerate(sums):
        _write(w_ref, at + t * c, total.sum(axis=0), one.exist)
