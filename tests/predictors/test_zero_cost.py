"""Zero-cost proxies operator by operator equal those of the whole network by plain automatic differentiation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from predictors.zero_cost import PROXIES, ZeroCost, measures, node_names, population
from predictors.zero_cost.layers import product, tail
from predictors.zero_cost.levels import groups, lower
from predictors.zero_cost.programs import at_once, in_parts
from predictors.zero_cost.weights import Initial
from search_spaces import Conv, Linear, NetworkBuilder, get_space
from supernets.layers import convolution, patches_product

BATCH, SIZE = 8, 6


def network(pooled: bool = True):
    b = NetworkBuilder("small", in_channels=3, size=SIZE)
    x = b.conv("stem", b.image, 8, kernel=3)
    r = b.sum("relu", x, activation="relu")
    y = b.conv("a", r, 8, kernel=3, activation="hswish")
    if pooled:
        y = b.pool("mean", y, kernel=3, stride=1, reduce="mean")
    y = b.conv("b", y, 8, kernel=1, norm=False, residual=x)
    y = b.sum("head", y, x, norm=True, activation="relu")
    b.linear("classifier", b.global_pool("pool", y), 4)
    return b.build().check()


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((2 * BATCH, SIZE, SIZE, 3), dtype=np.float32), np.arange(2 * BATCH) % 4


@pytest.fixture(scope="module")
def scores(data):
    return ZeroCost(tuple(PROXIES), *data, batch=BATCH).score([network()])


def run(net, weights, images, positive=False):
    """The network as one function of its kernels; `positive` for synaptic flow."""
    values = [images]
    for op in net:
        ins = [values[v] for v in op.inputs]
        if isinstance(op, Conv | Linear):
            kernel, bias = weights[op.name]
            ins[0] = product(op, kernel, ins[0])
            y = tail(op, bias, tuple(ins))[0] if not positive else sum(ins[1:], ins[0])
        else:
            y = sum(ins[1:], ins[0]) if positive and op.kind == "sum" else tail(op, None, tuple(ins))[0]
        values.append(y)
    return values[-1].reshape(len(images), -1)


@pytest.fixture(scope="module")
def reference(data):
    net = network()
    initial = Initial(0)
    weights = {op.name: initial.kernel(op) for op in net if isinstance(op, Conv | Linear)}
    kernels = {name: kernel for name, (kernel, _) in weights.items()}
    images, labels = data

    def loss(kernels, x, y):
        logits = run(net, {n: (k, weights[n][1]) for n, k in kernels.items()}, x)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.asarray(y)[:, None], axis=1).mean()

    first, second = ((images[s], labels[s]) for s in (slice(0, BATCH), slice(BATCH, None)))
    gradient = jax.jit(jax.grad(loss))
    return net, weights, kernels, gradient, first, second


def test_gradients(scores, reference):
    _, _, kernels, gradient, first, second = reference
    g, h = gradient(kernels, *first), gradient(kernels, *second)
    product_ = jax.jvp(lambda k: gradient(k, *first), (kernels,), (g,))[1]
    expected = {
        "plain": sum(float((kernels[n] * g[n]).sum()) for n in g),
        "snip": sum(float(jnp.abs(kernels[n] * g[n]).sum()) for n in g),
        "grad_norm": sum(float(jnp.linalg.norm(g[n])) for n in g),
        "l2_norm": sum(float(jnp.linalg.norm(kernels[n])) for n in g),
        "grasp": -sum(float((kernels[n] * product_[n]).sum()) for n in g),
        "zico": sum(
            float(np.log((np.abs([g[n], h[n]]).mean(0) / np.maximum(np.std([g[n], h[n]], axis=0), 1e-30)).sum()))
            for n in g
        ),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(scores.values[name][0], value, rtol=5e-3, atol=1e-4, err_msg=name)
    assert set(scores.failures.values()) == {0}


def test_jacobian(scores, reference):
    net, weights, _, _, (images, labels), _ = reference
    jacobian = jax.jit(jax.grad(lambda x: run(net, weights, x).sum()))(jnp.asarray(images))
    flat = np.asarray(jacobian, np.float64).reshape(BATCH, -1)
    np.testing.assert_allclose(scores.values["jacov"][0], measures.jacov(flat), rtol=1e-2)
    np.testing.assert_allclose(scores.values["epe_nas"][0], measures.epe_nas(flat, labels, 4), rtol=1e-2)


def test_fisher_is_of_the_products(scores, reference):
    net, weights, kernels, _, (images, labels), _ = reference

    def loss(shifts, keep=None):
        values = [jnp.asarray(images)]
        for op in net:
            ins = [values[v] for v in op.inputs]
            if isinstance(op, Conv | Linear):
                y = product(op, weights[op.name][0], ins[0])
                if keep is not None:
                    keep[op.name] = y
                ins[0] = y + shifts[op.name] if shifts else y
            values.append(tail(op, weights[op.name][1] if op.name in weights else None, tuple(ins))[0])
        rows = jax.nn.log_softmax(values[-1].reshape(BATCH, -1))
        return -jnp.take_along_axis(rows, jnp.asarray(labels)[:, None], axis=1).mean()

    made = {}
    loss({}, made)
    slopes = jax.grad(loss)({name: jnp.zeros_like(y) for name, y in made.items()})
    total = 0.0
    for name, y in made.items():
        channel = 0.5 * ((y * slopes[name]).sum(axis=(1, 2)) ** 2).mean(axis=0)
        total += float(channel.sum()) * kernels[name].size / kernels[name].shape[-1]
    np.testing.assert_allclose(scores.values["fisher"][0], total, rtol=1e-3)


def test_synaptic_flow(scores, reference):
    net, weights, kernels, _, _, _ = reference
    ones = jnp.ones((1, SIZE, SIZE, 3))
    magnitudes = {n: jnp.abs(k) for n, k in kernels.items()}
    for name, positive in (("synflow", True), ("synflow_bn", False)):

        def total(k, positive=positive):
            biases = {n: None if b is None else jnp.abs(b) for n, (_, b) in weights.items()}
            return run(net, {n: (k[n], biases[n]) for n in k}, ones, positive).sum()

        g = jax.grad(total)(magnitudes)
        value = sum(float(jnp.abs(magnitudes[n] * g[n]).sum()) for n in g)
        expected = np.log(value) if positive else value
        np.testing.assert_allclose(scores.values[name][0], expected, rtol=1e-3, err_msg=name)


def test_synaptic_flow_cannot_overflow():
    b = NetworkBuilder("deep", in_channels=64, size=2)
    x = b.image
    for i in range(150):
        x = b.conv(f"c{i}", x, 64, kernel=3, activation="relu")
    b.linear("classifier", b.global_pool("pool", x), 2)
    images = np.zeros((2, 2, 2, 64), np.float32)
    scores = ZeroCost(("synflow",), images, np.arange(2), batch=2).score([b.build()])
    assert scores.failures["synflow"] == 0
    assert scores.values["synflow"][0] > 250  # exp of it is beyond float32


def test_codes_count_signs(scores, reference):
    net, weights, _, _, (images, _), _ = reference
    values, code = [jnp.asarray(images)], np.zeros((BATCH, BATCH))
    for op in net:  # no activation here is read by two convolutions
        ins = [values[v] for v in op.inputs]
        if op.name in weights:
            ins[0] = product(op, weights[op.name][0], ins[0])
        out, before = tail(op, weights[op.name][1] if op.name in weights else None, tuple(ins))
        if getattr(op, "activation", "none") in ("relu", "hswish"):
            x = np.asarray(before).reshape(BATCH, -1) > 0
            code += (x[:, None] == x[None, :]).sum(axis=2)
        values.append(out)
    np.testing.assert_allclose(scores.values["nwot"][0], np.linalg.slogdet(code)[1], rtol=1e-4)


def test_in_lockstep_as_alone(data, scores):
    networks = [network(), network(pooled=False), network(), network(), network(pooled=False)]
    alone = ZeroCost(tuple(PROXIES), *data, batch=BATCH).score(networks)
    together = ZeroCost(tuple(PROXIES), *data, batch=BATCH, together=3).score(networks)  # two chunks, lanes to spare
    for name in PROXIES:
        np.testing.assert_allclose(together.values[name], alone.values[name], rtol=5e-4, err_msg=name)
    assert alone.values["snip"][0] == alone.values["snip"][2] != alone.values["snip"][1]
    assert together.failures == alone.failures


def test_a_chunk_too_large_for_the_pools_is_halved(data, monkeypatch):
    networks = [network(pooled=False), network(), network(), network()]
    alone = ZeroCost(("snip", "synflow"), *data, batch=BATCH).score(networks)
    reserved, reserve = [], population.Population._reserve
    monkeypatch.setattr(population, "_AHEAD", 1)  # the first chunk decides; the second needs a slot more
    monkeypatch.setattr(population, "_ROOM", 1.0)
    monkeypatch.setattr(population.Population, "_reserve", lambda *args: reserved.append(args) or reserve(*args))
    judge, done = ZeroCost(("snip", "synflow"), *data, batch=BATCH, together=2), []
    halved = judge.score(networks, lambda n, total: done.append(n))
    assert (len(reserved), done) == (1, [2, 3, 4])
    for name, values in halved.values.items():
        np.testing.assert_allclose(values, alone.values[name], rtol=5e-4, err_msg=name)


def test_streams_at_once_and_gradients_in_parts_as_on_a_gpu(monkeypatch):
    xs = np.random.default_rng(0).standard_normal((2, 8, 32, 32, 3), dtype=np.float32)
    kernel = jnp.asarray(np.random.default_rng(1).standard_normal((3, 3, 3, 4), dtype=np.float32))
    forward = partial(patches_product, kernel=kernel, stride=1)
    cotangent = jnp.cos(forward(xs[1]))

    def to_kernel(x, cotangent):
        return jax.vjp(lambda k: patches_product(x, k, 1), kernel)[1](cotangent)[0]

    one_by_one, whole = [forward(x) for x in xs], to_kernel(xs[0], cotangent)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for found, expected in zip(at_once(forward, tuple(xs)), one_by_one, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(in_parts(to_kernel, xs[0], cotangent), whole, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_cells_in_lockstep_as_alone():
    space = get_space("nasbench201", image_size=8)
    texts = (
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",  # nothing comes through
        "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|none~2|",  # two edges lead nowhere
        "|skip_connect~0|+|skip_connect~0|avg_pool_3x3~1|+|avg_pool_3x3~0|skip_connect~1|skip_connect~2|",
        "|avg_pool_3x3~0|+|avg_pool_3x3~0|none~1|+|avg_pool_3x3~0|nor_conv_3x3~1|none~2|",  # one node read thrice
    )
    networks = [space.network(space.parse(text)) for text in texts]
    images = np.random.default_rng(1).standard_normal((8, 8, 8, 3), dtype=np.float32)
    names = ("snip", "grasp", "synflow", "synflow_bn", "jacov", "nwot", "zen", "fisher")
    alone = ZeroCost(names, images, np.arange(8), batch=8).score(networks)
    together = ZeroCost(names, images, np.arange(8), batch=8, together=5).score(networks)
    assert together.failures == alone.failures and alone.failures["jacov"] == 1
    for name in names:
        np.testing.assert_allclose(together.values[name], alone.values[name], rtol=2e-3, atol=1e-6, err_msg=name)


def test_what_cannot_be_computed_is_worst_and_counted(data):
    b = NetworkBuilder("dead", in_channels=3, size=SIZE)
    x = b.zero("zero", b.conv("stem", b.image, 8, kernel=3, activation="relu"))
    b.linear("classifier", b.global_pool("pool", x), 4)
    dead = ZeroCost(("jacov",), *data, batch=BATCH).score([network(), b.build()])
    assert dead.failures == {"jacov": 1}
    assert np.isfinite(dead.values["jacov"]).all() and dead.values["jacov"][1] < dead.values["jacov"][0]


def test_bad_arguments_are_named(data):
    with pytest.raises(ValueError, match="'size' is unknown"):
        ZeroCost(("size",), *data)
    with pytest.raises(ValueError, match="batch"):
        ZeroCost(("nwot",), *data, batch=1)
    with pytest.raises(ValueError, match=r"images \(n=16\)"):
        ZeroCost(("zico",), *data, batch=64)
    with pytest.raises(ValueError, match="takes 32 px"):
        ZeroCost(("nwot",), *data, batch=BATCH).score([get_space("nasbench201").network([0] * 6)])


@pytest.mark.parametrize(("size", "kernel", "stride"), [(6, 3, 1), (6, 3, 2), (5, 3, 2), (5, 5, 1)])
def test_patches_are_the_convolution(size, kernel, stride):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, size, size, 4)), jnp.float32)
    k = jnp.asarray(rng.standard_normal((kernel, kernel, 4, 6)), jnp.float32)
    there, back = jax.vjp(lambda x, k: patches_product(x, k, stride), x, k)
    expected, reference = jax.vjp(lambda x, k: convolution(x, k, stride=stride), x, k)
    np.testing.assert_allclose(there, expected, atol=1e-5)
    for got, wanted in zip(back(jnp.ones_like(there)), reference(jnp.ones_like(expected)), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_vote_is_the_majority():
    a, b, c = np.array([1.0, 2, 3]), np.array([1.0, 3, 2]), np.array([3.0, 1, 2])
    # 0 loses to 1 and 2 in a and b; 1 and 2 beat each other once, and c puts 2 above 1
    assert measures.vote([a, b, c]).tolist() == [0.0, 1.0, 2.0]
    assert measures.vote([a, a, a]).tolist() == [0, 1, 2]


def test_groups_run_everything_after_its_inputs():
    space = get_space("nasbench201", image_size=8)
    networks = lower([space.network(x) for x in space.sample(np.random.default_rng(0), 16)])
    done = [{0} for _ in networks]
    found = list(groups(networks))
    for group in found:
        steps = [networks[n][i] for n, i in group]
        assert len({step.op for step in steps}) == 1
        assert len({step.named.name for step in steps}) == 1 or not isinstance(steps[0].op, Conv)
        for n, i in group:
            assert set(networks[n][i].inputs) <= done[n]
        for n, i in group:
            done[n].add(i + 1)
    assert [len(d) - 1 for d in done] == [len(steps) for steps in networks]
    assert len(found) < sum(map(len, networks)) / 3


def test_networks_that_contradict_each_other_run_by_their_own_order():
    first, second = (NetworkBuilder("n", in_channels=3, size=4) for _ in range(2))
    for b, names in ((first, "ab"), (second, "ba")):
        x = b.image
        for name in names:
            x = b.conv(name, x, 3, kernel=3)
        b.linear("classifier", b.global_pool("pool", x), 2)
    networks = lower([first.build(), second.build()])
    order = [(n, i) for group in groups(networks) for n, i in group]
    assert sorted(order) == [(n, i) for n in range(2) for i in range(4)]
    assert [lane for lane in order if lane[0] == 0] == [(0, i) for i in range(4)]


def test_node_names_are_all_operators_with_weights():
    assert len(node_names(get_space("nasbench201"))) == 98  # 15 cells of 6, stem, two blocks of 3, classifier
