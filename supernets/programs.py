"""The programs of a link: forward, backward, and what is measured on the way.

Each is compiled for the operators of a block and the shapes of its values; blocks of the same shape
share them. Forward returns what its backward program would be dear to compute again.
"""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from search_spaces import Conv, Linear, Sum
from supernets.any_kernel import Choices
from supernets.apart import Kind, on_each
from supernets.frames import absent_held, summands_fitted
from supernets.layers import COSTLY, Moments
from supernets.layers import moments as layer_moments
from supernets.links import Operators
from supernets.losses import Loss
from supernets.module import run_operator
from supernets.params import Array, Params
from supernets.program_files import ProgramFiles, through
from supernets.quantised import rounded_input, run_rounded, steps
from supernets.slicing import filters, operator_weights

WHOLE, BATCH, OWN = Kind.WHOLE, Kind.BATCH, Kind.OWN


@partial(jax.jit, static_argnames=("operators", "first", "files", "mesh"))
def forward(
    weights: Params,
    x: Array,
    choices: Choices,
    *,
    operators: Operators,
    first: bool,
    files: ProgramFiles | None,
    mesh: Mesh | None,
) -> tuple[Array, list[Array]]:
    """A link's output, and what `backward` needs beside the arguments.

    Args:
        weights: Of the link.
        x: What it reads `[n, h, w, c]`.
        choices: See `supernets.frames.fitted`.
        operators: Of the link, as that has them.
        first: Whether it reads the images, whose gradient nobody asks for.
        files: Where programs are kept.
        mesh: Devices that each normalise their own images, see `supernets.groups`.
    """
    run_here = partial(through, files, partial(_made, operators=operators, first=first))
    found: tuple[Array, list[Array]] = on_each(mesh, run_here, (WHOLE, BATCH, WHOLE), (BATCH, OWN))(weights, x, choices)
    return found


@partial(jax.jit, static_argnames=("operators", "first", "files", "mesh"), donate_argnums=0)
def backward(
    total: Params,
    weights: Params,
    x: Array,
    choices: Choices,
    made: list[Array],
    g: Array,
    *,
    operators: Operators,
    first: bool,
    files: ProgramFiles | None,
    mesh: Mesh | None,
) -> tuple[Params, Array | None]:
    """The sum of gradients with the link's own, and the gradient of what it reads.

    Args:
        total: The sum so far of the link's weights; its memory is used.
        weights: As of `forward`.
        x: As of `forward`, and so choices, operators, first, files and mesh.
        made: By `forward`.
        g: Gradient of its output.
    """
    run_back = partial(_pulled_back, operators=operators, first=first)

    def run_here(total: Params, *arguments: Any) -> list[Any]:
        gradients, *inputs = through(files, run_back, *arguments)
        return [jax.tree.map(jnp.add, total, gradients), *inputs]

    given, found = (OWN, WHOLE, BATCH, WHOLE, OWN, BATCH), (OWN,) if first else (OWN, BATCH)
    summed, *inputs = on_each(mesh, run_here, given, found)(total, weights, x, choices, made, g)
    return summed, inputs[0] if inputs else None


@partial(jax.jit, static_argnames=("operators", "first"))
def _differentiated(weights: Params, x: Array, choices: Choices, operators: Operators, first: bool) -> Any:
    """Output and pullback, which keeps what is dear to compute again; norms and activations it repeats.

    What a program returns is written to memory: all residuals of a block in bfloat16 are six times its products.
    """
    keep = jax.checkpoint_policies.save_only_these_names(*COSTLY)
    if first:
        return jax.vjp(jax.checkpoint(lambda w: run(w, x, operators, choices), prevent_cse=False, policy=keep), weights)
    kept = jax.checkpoint(lambda w, x: run(w, x, operators, choices), prevent_cse=False, policy=keep)
    return jax.vjp(kept, weights, x)


def _residuals(*arguments: Any, operators: Operators, first: bool) -> tuple[Any, list[int | None]]:
    """Structure of the pullback, and for each of its leaves which leaf of the arguments it is, None for none.

    Arguments that a program returns would be copied.
    """
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), arguments)
    traced = _differentiated.trace(*shapes, operators=operators, first=first)  # not traced again where it was before
    jaxpr, structure = traced.jaxpr.jaxpr, jax.tree.structure(traced.out_info[1])
    place = {id(variable): i for i, variable in enumerate(jaxpr.invars)}
    return structure, [place.get(id(variable)) for variable in jaxpr.outvars[1:]]


def _made(
    weights: Params, x: Array, choices: Choices, *, operators: Operators, first: bool
) -> tuple[Array, list[Array]]:
    y, pullback = _differentiated(weights, x, choices, operators, first)
    _, given = _residuals(weights, x, choices, operators=operators, first=first)
    return y, [leaf for leaf, at in zip(jax.tree.leaves(pullback), given, strict=True) if at is None]


def _pulled_back(
    weights: Params, x: Array, choices: Choices, made: list[Array], g: Array, *, operators: Operators, first: bool
) -> list[Any]:
    structure, given = _residuals(weights, x, choices, operators=operators, first=first)
    arguments, rest = jax.tree.leaves((weights, x, choices)), iter(made)
    pullback = jax.tree.unflatten(structure, [next(rest) if at is None else arguments[at] for at in given])
    return list(pullback(g))


def run(
    weights: Params,
    x: Array,
    operators: Operators,
    choices: Choices,
    dropout: Array | None = None,
    stats: dict[str, Moments] | None = None,
    given: dict[str, Moments] | None = None,
) -> Array:
    """What a link makes of x, not compiled.

    Args:
        weights: The link's part of the supernet's, full width.
        x: What it reads.
        operators: The link's.
        choices: See `supernets.frames.fitted`.
        dropout: Mask before a classifier at its end.
        stats: Where to put the moments of its batch norms.
        given: Moments to normalise by, in the place of the batch's.
    """
    values = [x]
    for op in operators:
        rounding = steps(weights, op)
        inputs = summands_fitted(op, rounded_input(rounding, op, [values[i] for i in op.inputs]))
        fields = None
        if own := operator_weights(weights, op):
            if op.name in choices and isinstance(op, Conv):
                padded = [_pad(w, op.kernel) for _, w in sorted(filters(weights, op).items())]
                own["kernel"] = jnp.stack(padded)[choices[op.name]][:, :, None]
            for name in {"kernel", "bias"} & own.keys():
                own[name] = own[name].astype(x.dtype)
            if given is not None and op.name in given:
                own["mean"], own["var"] = given[op.name]
            fields = SimpleNamespace(**own)
        if dropout is not None and isinstance(op, Linear) and op is operators[-1]:
            inputs = [inputs[0].reshape(dropout.shape) * dropout.astype(x.dtype)]
        if stats is not None and isinstance(op, Conv | Sum) and op.norm:
            stats[op.name] = _before_norm(op, fields, inputs)
        values.append(absent_held(op, run_rounded(op, fields, inputs, given is None, rounding), choices))
    return values[-1]


def _before_norm(op: Conv | Sum, fields: Any, inputs: list[Array]) -> Moments:
    """Moments of what an operator normalises; the compiler joins this with the operator itself."""
    bare = replace(op, norm=False, activation="none", inputs=op.inputs[:1] if isinstance(op, Conv) else op.inputs)
    return layer_moments(run_operator(bare, fields, inputs[:1] if isinstance(op, Conv) else inputs, True))


def _pad(w: Array, size: int) -> Array:
    margin = (size - w.shape[0]) // 2
    return jnp.pad(w, ((margin, margin), (margin, margin), (0, 0)))


@partial(jax.jit, static_argnames=("operators", "mesh"))
def apply(
    weights: Params,
    x: Array,
    choices: Choices,
    operators: Operators,
    given: dict[str, Moments] | None = None,
    mesh: Mesh | None = None,
) -> Array:
    """A link's output, normalised by the batch or by the moments given; `mesh` is as of `forward`."""

    def run_here(weights: Params, x: Array, choices: Choices, given: dict[str, Moments] | None) -> tuple[Array]:
        return (run(weights, x, operators, choices, given=given),)

    (y,) = on_each(mesh, run_here, (WHOLE, BATCH, WHOLE, WHOLE), (BATCH,))(weights, x, choices, given)
    return y


@partial(jax.jit, static_argnames="operators")
def measure(weights: Params, x: Array, choices: Choices, operators: Operators) -> tuple[Array, dict[str, Moments]]:
    """A link's output, and the moments of its batch norms."""
    stats: dict[str, Moments] = {}
    return run(weights, x, operators, choices, stats=stats), stats


@partial(jax.jit, static_argnames=("operators", "loss", "mesh"), donate_argnums=0)
def head(
    total: Params,
    weights: Params,
    x: Array,
    target: Array,
    dropout: Array,
    operators: Operators,
    loss: Loss,
    mesh: Mesh | None,
) -> tuple[Params, Array, Array, Array]:
    """Sum of gradients with the head's own, gradient of what it reads, loss, and logits `[n, classes]` in fp32.

    `mesh` is as of `forward`; the loss is then one of every device.
    """

    def run_here(total: Params, weights: Params, x: Array, target: Array, dropout: Array) -> tuple[Any, ...]:
        def value_of(weights: Params, x: Array) -> tuple[Array, Array]:
            logits = run(weights, x, operators, {}, dropout).astype(jnp.float32)
            return loss(logits, target), logits

        (value, logits), (grads, g) = jax.value_and_grad(value_of, argnums=(0, 1), has_aux=True)(weights, x)
        return jax.tree.map(jnp.add, total, grads), g, value, logits

    given, found = (OWN, WHOLE, BATCH, BATCH, BATCH), (OWN, BATCH, OWN, BATCH)
    results: tuple[Params, Array, Array, Array] = on_each(mesh, run_here, given, found)(
        total, weights, x, target, dropout
    )
    return results


def count() -> int:
    """Compiled programs so far, of all links."""
    return sum(f._cache_size() for f in (forward, backward, head))  # type: ignore[attr-defined]
