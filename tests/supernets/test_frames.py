"""One program for all widths: what it computes against the network at its true size, and how many there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces import get_space
from supernets.chain import forward, gradient, moments
from supernets.first_steps import with_network_steps
from supernets.frames import fitted
from supernets.links import cut
from supernets.programs import run
from supernets.shared import init_shared

SIZE = 16


LEAN = {"activation": "relu", "features": 0}  # stem and head


def space_of(blocks, windows="000000", width=0.25, **macro):
    options = {"width": width, "num_classes": 4, "resolutions": [SIZE], "stem_stride": 1}
    return get_space("spaceevo", blocks=blocks, windows=windows, **options, **macro)


def weights_of(space):
    rng = np.random.default_rng(1)
    fresh = init_shared(space, 0)
    return {name: v + 0.1 * jnp.asarray(rng.normal(size=v.shape), jnp.float32) for name, v in fresh.items()}


def shallow(space, rng):
    """A random network with the least depth, of widths between the ends."""
    x = space.sample(rng, 1)[0]
    x[[i for name, i in space.index.items() if name.endswith(".depth")]] = 0
    return space.network(space.canonical(x)[0])


def pictures(rng, n=8):
    return jnp.asarray(rng.normal(size=(n, SIZE, SIZE, 3)), jnp.float32)


@pytest.mark.parametrize("kind", [1, 4, *(pytest.param(k, marks=pytest.mark.slow) for k in (0, 2, 3, 5))])
def test_a_masked_program_computes_the_block_itself(kind):
    """A block's output, its gradients and that of what it reads, at the smallest widths of a stage."""
    space, rng = space_of(str(kind) * 6), np.random.default_rng(3)
    params = weights_of(space)
    network = space.network(0 * space.cardinality)
    (link,) = (link for link in cut(network) if link.prefix == "stage3.block1.")
    weights = link.weights(params)
    operators, choices = fitted(link, weights, masked=True)
    assert operators != link.operators
    (width,) = {op.in_channels for op in link.operators if op.inputs == (0,)}
    wide = max(op.in_channels for op in operators if op.inputs == (0,))
    size = link.operators[0].size
    x = jnp.asarray(rng.normal(size=(4, size, size, width)), jnp.float32)
    filled = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, wide - width)))
    y, pull = jax.jit(lambda w, x: jax.vjp(lambda w, x: run(w, x, link.operators, {}), w, x))(weights, x)
    y2, pull2 = jax.jit(lambda w, x, c: jax.vjp(lambda w, x: run(w, x, operators, c), w, x))(weights, filled, choices)
    channels = y.shape[-1]
    np.testing.assert_allclose(y2[..., :channels], y, atol=1e-4)
    assert y2.shape[-1] > channels and not jnp.any(y2[..., channels:])
    g = jnp.asarray(rng.normal(size=y2.shape), jnp.float32)  # what comes from absent channels does not count
    (grads, dx), (grads2, dx2) = pull(g[..., :channels]), pull2(g)
    for name in grads:
        np.testing.assert_allclose(grads2[name], grads[name], atol=2e-3, err_msg=name)
    np.testing.assert_allclose(dx2[..., :width], dx, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("blocks", "macro"), [("012345", {}), ("543210", LEAN)])
def test_a_masked_program_computes_the_network_itself(blocks, macro):
    """Loss, logits, every gradient and every moment of a random network, whatever its widths."""
    space, rng = space_of(blocks, **macro), np.random.default_rng(3)
    params, images, network = weights_of(space), pictures(rng), shallow(space, rng)
    target = jax.nn.one_hot(jnp.arange(8) % 4, 4)
    dropout = jnp.ones((8, network.operators[-1].in_channels))
    found = []
    for masked in (False, True):
        zeros = jax.tree.map(jnp.zeros_like, params)
        found.append(gradient(params, zeros, network, images, target, dropout, masked=masked))
    plain, wide = found
    assert float(wide.loss) == pytest.approx(float(plain.loss), rel=1e-5)
    np.testing.assert_allclose(wide.logits, plain.logits, atol=1e-4 * float(jnp.abs(plain.logits).max()))
    largest = max(float(jnp.abs(g).max()) for g in plain.total.values())
    for name, g in plain.total.items():
        np.testing.assert_allclose(wide.total[name], g, atol=1e-4 * largest, err_msg=name)
    narrow, full = (moments(params, network, images, masked) for masked in (False, True))
    for name, pair in narrow.items():
        for own, all_channels in zip(pair, full[name], strict=True):
            np.testing.assert_allclose(all_channels[: len(own)], own, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_rounded_networks_too():
    """Absent channels are zero on the grid of every step."""
    space, rng = space_of("240153"), np.random.default_rng(5)
    images, network = pictures(rng), shallow(space, rng)
    params = with_network_steps(weights_of(space), [space.network(space.cardinality - 1), network], {SIZE: images})
    plain, wide = (np.asarray(forward(params, network, images, masked=masked)) for masked in (False, True))
    # a sum in another order may put a value on the next level
    assert np.mean(np.abs(wide - plain)) < 0.02 * np.abs(plain).mean()


def test_widths_share_their_programs():
    """Random networks of a space meet few programs of a block; at their true sizes nearly every one its own."""
    space, rng = space_of("125125", windows="011111", width=0.5), np.random.default_rng(0)
    params = jax.eval_shape(lambda: init_shared(space, 0))
    shared, own = set(), set()
    for x in space.sample(rng, 100):
        for link in cut(space.network(x))[:-1]:
            operators, choices = fitted(link, link.weights(params), masked=True)
            shared.add((operators, tuple(choices)))
            own.add(link.operators)
    assert len(own) > 3 * len(shared)


@pytest.mark.slow
def test_a_block_that_keeps_its_width_adds_what_it_reads():
    """The first block of a stage of stride 1 has no convolution beside it then, and reads and makes other widths."""
    space, rng = space_of("111111", windows="003000"), np.random.default_rng(0)
    widths = {s: space.genes[space.index[f"stage{s}.width"]].choices for s in (3, 4)}
    (equal, *_) = [c for c in widths[3] if c in widths[4]]
    x = np.zeros_like(space.cardinality)
    for s in (3, 4):
        x[space.index[f"stage{s}.width"]] = widths[s].index(equal)
    network = space.network(x)
    assert "stage4.block1.skip" not in {op.name for op in network}
    params, images = weights_of(space), pictures(rng)
    np.testing.assert_allclose(
        forward(params, network, images, masked=True), forward(params, network, images), atol=1e-3
    )
