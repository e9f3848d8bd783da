"""One compiled program an operator and pass: what scores any architecture of a space without compiling it.

Compiling an architecture costs seconds; a space has tens to hundreds of different operators,
and their programs, compiled once, chain into every architecture. A map travels as a `Bundle` of
streams that share the weights: batches of images, and for the first one also a tangent.

The tangent is along the kernels themselves, which makes the Hessian of GraSP nearly free: with
y = K x and the tangent dK = K, dy = K dx + y, and no convolution is needed for the second term;
and sum of theta * (H g) is the inner product of g and H theta, which comes out of the same pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from predictors.zero_cost.layers import CODES, adds_last, before_norm, product, product_of_own, tail
from search_spaces import Conv, Linear, Operator

Array = jax.Array
Bundle = tuple[Array, ...]  # streams, then the tangent of the first one if there is one, then the Jacobian's cotangent


@dataclass(frozen=True)
class Pass:
    """What travels together.

    Attributes:
        streams: Batches, each normalised on its own.
        tangent: Whether the first stream carries its derivative along the kernels.
        jacobian: Whether the way back also carries the derivative of the summed logits.
        codes: Whether binary codes of the first stream are compared.
        variances: Whether the way forward returns the variances that batch norm removes.
        weights: Whether the way back sums over the weights; if not, it carries the Jacobian only.
    """

    streams: int = 1
    tangent: bool = False
    jacobian: bool = False
    codes: bool = False
    variances: bool = False
    weights: bool = True

    @property
    def cotangents(self) -> int:
        """Maps in a bundle on the way back."""
        return (self.streams + self.tangent) * self.weights + self.jacobian


class Forward(NamedTuple):
    """Result of a forward program.

    Attributes:
        out: The operator's map.
        products: What the kernel made, before batch norm; empty without kernel. Needed on the way back.
        code: Agreement of the binary codes of all pairs of images `[n, n]`, or None.
        variance: Mean variance that batch norm removed, or None.
    """

    out: Bundle
    products: Bundle
    code: Array | None
    variance: Array | None


class Sums(NamedTuple):
    """Sums over the weights of one kernel, of the first stream; scalars.

    Attributes:
        plain: Of weight times gradient.
        snip: Of its magnitude.
        square: Of the squared gradient.
        grasp: Of minus gradient times Hessian times weight.
        fisher: Of the channels' Fisher information, times the weights of a channel.
        zico: Of mean magnitude over standard deviation of the gradient, over the streams.
    """

    plain: Array
    snip: Array
    square: Array
    grasp: Array
    fisher: Array
    zico: Array


def signature(op: Operator) -> Operator:
    """The operator without name and place: equal for all that share programs."""
    return replace(op, name=op.kind, inputs=tuple(range(len(op.inputs))))


def forward(op: Operator, how: Pass, kernel: Array | None, bias: Array | None, ins: tuple[Bundle, ...]) -> Forward:
    """Runs one operator.

    Args:
        op: The operator.
        how: What a bundle holds.
        kernel: Its kernel, if it has one.
        bias: Its bias, if it has one.
        ins: A bundle for every input.
    """
    products = _products(op, how, kernel, ins)
    ys = _tail_inputs(how, products, ins)
    run = partial(tail, op, bias)
    ends = [run(y) for y in ys[: how.streams]]
    out = [end[0] for end in ends]
    if how.tangent:
        out.append(jax.jvp(lambda *y: run(y)[0], ys[0], ys[how.streams])[1])
    code = variance = None
    if how.codes and getattr(op, "activation", "none") in CODES:
        before = ends[0][1]
        signs = jnp.where(before.reshape(len(before), -1) > 0, 1.0, -1.0)
        # x xT + (1 - x)(1 - x)T with x = (signs + 1) / 2
        code = (signs @ signs.T + signs.shape[1]) / 2
    if how.variances and getattr(op, "norm", False):
        variance = before_norm(op, ys[0]).var(axis=(0, 1, 2)).mean()
    return Forward(tuple(out), products, code, variance)


def backward(
    op: Operator,
    how: Pass,
    kernel: Array | None,
    bias: Array | None,
    ins: tuple[Bundle, ...],
    products: Bundle,
    cotangents: Bundle,
) -> tuple[tuple[Bundle, ...], Sums | None]:
    """Cotangents of the inputs (of the first only if the operator `adds_last`), and the sums over its weights.

    Args:
        op: The operator.
        how: What a bundle holds.
        kernel: Its kernel, if it has one.
        bias: Its bias, if it has one.
        ins: A bundle for every input, as on the way forward.
        products: From the way forward.
        cotangents: Of its output.
    """
    ys = _tail_inputs(how, products, ins)

    if adds_last(op):  # what is added gets the cotangent as it is, without a copy
        ys = [y[:1] for y in ys]
        op = replace(op, inputs=op.inputs[:1])

    def pull(y: tuple[Array, ...], cotangent: Array) -> tuple[Array, ...]:
        return jax.vjp(lambda *y: tail(op, bias, y)[0], *y)[1](cotangent)

    found = [pull(y, c) for y, c in zip(ys[: how.streams], cotangents, strict=False)] if how.weights else []
    if how.weights and how.tangent:
        found[0], moved = jax.jvp(pull, (ys[0], cotangents[0]), (ys[how.streams], cotangents[how.streams]))
        found.append(moved)
    if how.jacobian:
        found.append(pull(ys[0], cotangents[-1]))
    if kernel is None or not isinstance(op, Conv | Linear):
        return tuple(zip(*found, strict=True)), None
    first = [c[0] for c in found]
    x = ins[0]

    def to_input(cotangent: Array) -> Array:
        like = jnp.zeros((len(cotangent), *x[0].shape[1:]))
        return jax.vjp(lambda x: product_of_own(op, kernel, x), like)[1](cotangent)[0]

    others = tuple(zip(*(c[1:] for c in found), strict=True))
    if not how.weights:
        return (at_once(to_input, first), *others), None

    def to_kernel(x: Array, cotangent: Array) -> Array:
        return jax.vjp(lambda k: product_of_own(op, k, x), kernel)[1](cotangent)[0]

    gradients = [in_parts(to_kernel, x[i], first[i]) for i in range(how.streams)]
    g = gradients[0]
    grasp = jnp.zeros(())
    if how.tangent:
        t = how.streams
        # <g, dx * c + x * dc> without making the Hessian's product: two convolutions with g as the kernel
        moved, there = at_once(partial(product_of_own, op, g), (x[t], x[0]))
        grasp = -(moved * first[0]).sum() - (there * first[t]).sum()
        first[t] = first[t] + first[0]
    a = (products[0] * first[0]).sum(axis=(1, 2))
    fan_in = kernel.size // kernel.shape[-1]
    stacked = jnp.stack(gradients)
    deviation = stacked.std(axis=0)
    ratio = jnp.where(deviation > 0, jnp.abs(stacked).mean(axis=0) / jnp.where(deviation > 0, deviation, 1.0), 0.0)
    weighted = kernel * g
    sums = Sums(
        plain=weighted.sum(),
        snip=jnp.abs(weighted).sum(),
        square=(g * g).sum(),
        grasp=grasp,
        fisher=0.5 * (a * a).mean(axis=0).sum() * fan_in,
        zico=ratio.sum(),
    )
    return (at_once(to_input, first), *others), sums


def _products(op: Operator, how: Pass, kernel: Array | None, ins: tuple[Bundle, ...]) -> Bundle:
    if kernel is None or not isinstance(op, Conv | Linear):
        return ()
    ys = list(at_once(partial(product, op, kernel), ins[0]))
    if how.tangent:
        ys[how.streams] = ys[how.streams] + ys[0]
    return tuple(ys)


def _tail_inputs(how: Pass, products: Bundle, ins: tuple[Bundle, ...]) -> list[tuple[Array, ...]]:
    """What the tail reads, stream by stream."""
    bundles = (products, *ins[1:]) if products else ins
    return list(zip(*bundles, strict=True))


def at_once(linear: Callable[[Array], Array], xs: Sequence[Array]) -> Bundle:
    """A linear map of several streams; on a GPU as one batch, since small calls cost what large ones cost."""
    if jax.default_backend() == "cpu" or len(xs) == 1:
        return tuple(map(linear, xs))
    return tuple(jnp.split(linear(jnp.concatenate(xs)), len(xs)))


_PIXELS = 1024  # of a part: a longer sum keeps too few of a GPU's processors busy


def in_parts(to_kernel: Callable[[Array, Array], Array], x: Array, cotangent: Array) -> Array:
    """A kernel's gradient; on a GPU as the sum of those of parts of the batch, which run side by side."""
    n, pixels = len(cotangent), cotangent.shape[1] * cotangent.shape[2]
    fitting = [parts for parts in range(1, n + 1) if n % parts == 0 and n // parts * pixels >= _PIXELS]
    if jax.default_backend() == "cpu" or len(fitting) < 2:
        return to_kernel(x, cotangent)
    parts = (part.reshape(fitting[-1], -1, *part.shape[1:]) for part in (x, cotangent))
    return jax.vmap(to_kernel)(*parts).sum(axis=0)
