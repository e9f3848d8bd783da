"""ProxylessNAS and FBNet: gradients against automatic ones, the papers' formulas, exact resume, memory of one path."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces import ChoiceSpace, get_space
from search_spaces.choice import candidates
from supernets import mixed, path_gates, programs
from supernets.architecture import (
    LatencyModel,
    Pair,
    added,
    aimed,
    gumbel_softmax,
    multiplied,
    rescaled,
    softmax,
    through_softmax,
)
from supernets.config import TrainConfig
from supernets.differentiable import Differentiable
from supernets.errors import TrainingError
from supernets.programs import run
from supernets.search_config import SearchConfig, fbnet_config, proxyless_config
from supernets.search_schedule import weights_rate
from supernets.shared import init_shared

_FULL = get_space("fbnet", num_classes=4, image_size=12, stem_stride=2, in_channels=1, channels=(8,) * 9).spec


def small(names="skip k3e1 k3e3", layers=2):
    chosen = tuple(replace(layer, candidates=candidates(names)) for layer in _FULL.layers[:layers])
    return ChoiceSpace("small", replace(_FULL, layers=chosen), {"classes": 4})


SPACE = small()
LATENCY = LatencyModel((np.array([0.0, 0.1, 0.3]), np.array([0.05, 0.2, 0.4])), 0.5)
WEIGHTS = TrainConfig(method="single_path", epochs=3, warm_epochs=1, batch_size=16, shift=0, flip=False, peak_lr=0.05)


@pytest.fixture(scope="module")
def setting():
    """A plan, weights away from zero, images, classes."""
    rng = np.random.default_rng(0)
    params = {n: v + 0.1 * rng.standard_normal(v.shape).astype(np.float32) for n, v in init_shared(SPACE, 0).items()}
    x = jax.random.normal(jax.random.key(0), (8, 12, 12, 1))
    return mixed.plan(SPACE), params, x, jax.nn.one_hot(jnp.arange(8) % 4, 4)


def loss_of_shares(p, params, shares, images, target):
    """The mixture as one differentiable function: what the blockwise code must agree with."""
    x = run(p.first.weights(params), images, p.first.operators, {})
    for layer, m in zip(p.layers, shares, strict=True):
        outputs = [x if link is None else run(link.weights(params), x, link.operators, {}) for link in layer]
        x = sum(share * o for share, o in zip(m, outputs, strict=True))
    logits = run(p.head.weights(params), x, p.head.operators, {})
    return -(target * jax.nn.log_softmax(logits.reshape(len(images), -1))).sum(axis=1).mean()


def test_mixture_has_the_automatic_gradient(setting):
    p, params, x, target = setting
    shares = [np.array([0.2, 0.5, 0.3]), np.array([0.6, 0.1, 0.3])]
    found = mixed.mixture(params, jax.tree.map(jnp.zeros_like, params), p, shares, x, target)
    traced = [jnp.asarray(s, jnp.float32) for s in shares]
    value, (dw, dm) = jax.jit(jax.value_and_grad(lambda w, m: loss_of_shares(p, w, m, x, target), argnums=(0, 1)))(
        params, traced
    )
    assert found.loss == pytest.approx(float(value), rel=1e-5)
    for name, expected in dw.items():
        np.testing.assert_allclose(found.total[name], expected, atol=2e-4 * (1 + float(np.abs(expected).max())))
    np.testing.assert_allclose(np.array(found.mixing), np.array(dm), atol=1e-4)


def test_what_weighs_next_to_nothing_is_left_out(setting):
    """The gradient of the logits stays the whole mixture's but for a thousandth; weights left out have none."""
    p, params, x, target = setting
    shares = [np.array([1e-5, 0.4, 0.59999]), np.array([0.3, 0.69951, 4.9e-4])]
    found = mixed.mixture(params, jax.tree.map(jnp.zeros_like, params), p, shares, x, target)
    traced = [jnp.asarray(s, jnp.float32) for s in shares]
    dm = jax.jit(jax.grad(lambda m: loss_of_shares(p, params, m, x, target)))(traced)
    for share, own, expected in zip(shares, found.mixing, dm, strict=True):
        whole = through_softmax(share, np.asarray(expected, np.float64))
        np.testing.assert_allclose(through_softmax(share, np.array(own)), whole, atol=2e-3 * np.abs(expected).max())
    left_out = p.layers[1][2]
    names = [left_out.prefix + name for name in left_out.weights(params)]
    assert names and not any(np.any(found.total[name]) for name in names)


def test_gates_have_the_gradient_of_binary_gates(setting):
    """At a one-hot mixture, up to what all gates of a layer share, which the softmax's gradient removes."""
    p, params, x, target = setting
    path = (2, 1)
    hot = [jnp.eye(3)[k] for k in path]
    dm = jax.jit(jax.grad(lambda m: loss_of_shares(p, params, m, x, target)))(hot)
    found = path_gates.gates(params, p, path, [range(3)] * 2, x, target)
    share = np.array([0.2, 0.5, 0.3])
    for layer, (own, expected) in enumerate(zip(found.gradient, dm, strict=True)):
        shift = np.asarray(expected) - own
        assert shift.std() < 1e-4
        if p.keeps_shape[layer]:
            assert own[0] == 0.0  # Zero's output is 0, and so is its gate's gradient
        np.testing.assert_allclose(
            through_softmax(share, own), through_softmax(share, np.asarray(expected, np.float64)), atol=1e-4
        )
    assert p.keeps_shape == (True, False)


def test_memory_is_that_of_one_path(monkeypatch):
    """What lives while gates are computed does not grow with the candidates."""
    peaks = {}
    for names in ("skip k3e3", "skip k3e3 k5e3 k3e6 k5e6"):
        space = small(names, layers=3)
        params, p = init_shared(space, 0), None
        p = mixed.plan(space)
        images, target = jnp.ones((64, 12, 12, 1)), jnp.full((64, 4), 0.25)
        before = sum(a.nbytes for a in jax.live_arrays())
        inner, peak = path_gates._gate, [0]

        def watched(*arguments, inner=inner, peak=peak, before=before):
            peak[0] = max(peak[0], sum(a.nbytes for a in jax.live_arrays()) - before)
            return inner(*arguments)

        monkeypatch.setattr(path_gates, "_gate", watched)
        path_gates.gates(params, p, (1, 1, 1), [range(len(layer)) for layer in p.layers], images, target)
        monkeypatch.setattr(path_gates, "_gate", inner)
        peaks[names] = peak[0]
    few, many = peaks.values()
    assert many <= few + 1024


def test_softmax_gradient_is_the_papers():
    alpha, g = np.array([0.3, -0.2, 0.1]), np.array([1.0, -2.0, 0.5])
    expected = jax.grad(lambda a: jnp.dot(jax.nn.softmax(a), jnp.asarray(g)))(jnp.asarray(alpha))
    np.testing.assert_allclose(through_softmax(softmax(alpha), g), expected, atol=1e-6)


def test_rescaling_keeps_the_other_probabilities():
    old, new = np.array([0.1, 0.5, -0.3, 0.2]), np.array([0.1, 1.4, -0.3, -0.7])
    kept = rescaled(old, new, Pair(1, 3, 1))
    np.testing.assert_allclose(softmax(kept)[[0, 2]], softmax(old)[[0, 2]], atol=1e-12)
    np.testing.assert_allclose(kept[1] - kept[3], new[1] - new[3])


def test_latency_losses_have_their_slopes():
    """The exponent stands outside the logarithm; slopes against finite differences."""
    factor, slope = multiplied(2.0, 3.0, alpha=0.2, beta=0.6, reference_ms=None)
    assert factor == pytest.approx(0.2 * np.log(3000) ** 0.6)
    near = multiplied(2.0, 3.0 + 1e-6, alpha=0.2, beta=0.6, reference_ms=None)[0]
    assert slope == pytest.approx(2.0 * (near - factor) / 1e-6, rel=1e-4)
    factor, slope = multiplied(2.0, 3.0, alpha=0.2, beta=0.3, reference_ms=5.0)
    assert factor == pytest.approx(0.2 * (np.log(3000) / np.log(5000)) ** 0.3)
    near = multiplied(2.0, 3.0 + 1e-6, alpha=0.2, beta=0.3, reference_ms=5.0)[0]
    assert slope == pytest.approx(2.0 * (near - factor) / 1e-6, rel=1e-4)
    assert multiplied(1.0, 0.02, alpha=0.2, beta=0.6, reference_ms=None)[0] > 0  # below a millisecond
    with pytest.raises(TrainingError, match="logarithm"):
        multiplied(1.0, 1e-4, alpha=0.2, beta=0.6, reference_ms=None)
    assert added(6.0, weight=0.1, reference_ms=5.0) == pytest.approx((0.02, 0.02))
    about = {"multiplier": 0.3, "damping": 2.0, "reference_ms": 5.0}
    term, slope = aimed(6.0, **about)
    assert term == pytest.approx(0.3 * 0.2 + 0.2**2)
    assert slope == pytest.approx((aimed(6.0 + 1e-6, **about)[0] - term) / 1e-6, rel=1e-4)


def test_expected_latency_is_that_of_the_paths():
    shares = [np.array([0.2, 0.5, 0.3]), np.array([0.6, 0.1, 0.3])]
    mean = sum(shares[0][i] * shares[1][j] * LATENCY.of((i, j)) for i in range(3) for j in range(3))
    assert LATENCY.expected_ms(shares) == pytest.approx(mean)


def test_gumbel_softmax_draws_from_the_distribution():
    theta, rng = np.array([1.0, 0.0, -1.0]), np.random.default_rng(0)
    draws = [gumbel_softmax(theta, 0.5, rng).argmax() for _ in range(20_000)]
    np.testing.assert_allclose(np.bincount(draws) / len(draws), softmax(theta), atol=0.01)
    assert gumbel_softmax(theta, 0.01, rng).max() > 0.99 > gumbel_softmax(theta, 100.0, rng).max()


CONFIGS = {
    "full_v2": SearchConfig("proxyless", WEIGHTS, arch_every=2, arch_rate=0.05),
    "two": SearchConfig("proxyless", WEIGHTS, gradient="two", loss="mul", arch_every=2, arch_rate=0.05),
    "reinforce": SearchConfig("proxyless", WEIGHTS, gradient="reinforce", reinforce_batch=2, arch_every=2),
    "fbnet": fbnet_config(WEIGHTS),
}


def search(folder, pictures, config, latency=LATENCY, space=SPACE):
    images, labels = pictures
    moments = {"mean": np.array([0.3], np.float32), "std": np.array([0.3], np.float32)}
    return Differentiable(space, images, labels, config=config, latency=latency, folder=folder, **moments)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in ("reinforce", "full_v2") else []) for name in CONFIGS],
)
def test_resume_is_bit_for_bit(tmp_path, pictures, name):
    class Killed(Exception):
        pass

    config = replace(CONFIGS[name], weights=replace(WEIGHTS, checkpoint_seconds=0.0))
    whole = search(tmp_path / "whole", pictures, config).run()
    first = search(tmp_path / "parts", pictures, config)
    last = len(first.events)

    def die(report):
        if report.step == last - 1:
            raise Killed

    with pytest.raises(Killed):
        first.run(die)
    again = search(tmp_path / "parts", pictures, config).run()
    assert all(np.array_equal(again.params[n], whole.params[n]) for n in whole.params)
    assert all(np.array_equal(a, b) for a, b in zip(again.alphas, whole.alphas, strict=True))
    assert any(np.abs(a).max() > 0.01 for a in whole.alphas) or name == "reinforce"
    assert len(whole.best) == 2 and len(whole.sample(np.random.default_rng(0), 3)) == 3


@pytest.mark.parametrize(
    "name", ["full_v2", pytest.param("two", marks=pytest.mark.slow), pytest.param("fbnet", marks=pytest.mark.slow)]
)
def test_a_slow_candidate_is_left(tmp_path, pictures, name):
    """Where one block costs a thousand times the others, the distribution moves away from it."""
    slow = LatencyModel((np.array([0.1, 0.1, 100.0]), np.array([0.1, 0.1, 100.0])), 0.5)
    weights = replace(WEIGHTS, epochs=5)
    config = replace(CONFIGS[name], weights=weights, latency_weight=10.0, beta=3.0, arch_rate=0.1, arch_every=1)
    found = search(tmp_path, pictures, config, slow).run()
    start = search(tmp_path / "other", pictures, config, slow)
    assert found.expected_ms < start.expected_ms


@pytest.mark.parametrize("make", [proxyless_config, fbnet_config])
@pytest.mark.parametrize("goal", [1.0, 2.0])
def test_the_latency_aimed_at_is_hit(tmp_path, pictures, make, goal):
    """Whatever the losses of these few steps say, the multiplier rises or falls until it is."""
    rng = np.random.default_rng(0)
    latency = LatencyModel(tuple(np.array([0.0, 0.1, 0.3]) * rng.uniform(0.5, 1.5) for _ in range(8)), 0.5)
    weights = replace(WEIGHTS, epochs=12)
    config = replace(make(weights, goal, updates=60, loss="target"), arch_every=1, arch_share=0.2)
    under_way = search(tmp_path, pictures, config, latency, small(layers=8))
    found = under_way.run()
    ended = under_way.expected_ms  # before it is brought there
    assert ended == pytest.approx(goal, rel=0.1)
    assert found.expected_ms == goal == pytest.approx(latency.of(found.best), rel=0.05)


@pytest.mark.parametrize("name", ["full_v2", "fbnet"])
def test_steps_compile_no_block(tmp_path, pictures, name):
    """All is compiled before the first step, several candidates at once."""
    jitted = (programs.forward, programs.backward, programs.head, programs.apply)
    jitted += (path_gates._head_only, path_gates._gate, mixed._pull, mixed._add_made, mixed._add_scaled)
    jax.clear_caches()
    prepared, steps = [], []
    search(tmp_path, pictures, CONFIGS[name]).run(
        lambda report: steps.append([f._cache_size() for f in jitted]),
        lambda done, total: prepared.append([f._cache_size() for f in jitted]),
    )
    assert prepared and sum(prepared[-1])
    assert {tuple(sizes) for sizes in steps} == {tuple(prepared[-1])}


def test_arch_steps_wait_for_the_warm_up_and_use_other_images(tmp_path, pictures):
    for name, first in (("full_v2", 2), ("fbnet", 1)):
        found = search(tmp_path / name, pictures, CONFIGS[name])
        assert min(epoch for kind, epoch, _ in found.events if kind == "arch") == first
        assert not set(found.parts["weight"]) & set(found.parts["arch"])


def test_published_numbers_and_their_scale(tmp_path, pictures):
    """ProxylessNAS: two cosines, the second from half the rate; few updates move a logit as far as many."""
    weights = replace(WEIGHTS, epochs=6, warm_epochs=2, batch_size=8)
    found = search(tmp_path, pictures, proxyless_config(weights, 1.0, updates=100))
    adam = found.distribution.adam
    assert (adam.b1, adam.b2, adam.rate) == (0.0, 0.999, 0.3)
    assert found.config.weights.weight_decay == 4e-5 and found.config.arch_share == 0.1
    rate, per_epoch = weights_rate(found.config, found.events), len(found.parts["weight"]) // weights.batch_size
    assert float(rate(0)) == pytest.approx(0.05) and float(rate(2 * per_epoch)) == pytest.approx(0.025)
    assert float(rate(2 * per_epoch - 1)) < 0.01
    assert proxyless_config(weights, 1.0, updates=10**6).arch_rate == 1e-3
    short = fbnet_config(replace(weights, epochs=9))
    assert short.temperature * np.exp(-9 * short.cooling) == pytest.approx(5 * np.exp(-0.045 * 90))
    assert fbnet_config(replace(weights, epochs=90)).cooling == 0.045


def test_bad_values_are_named():
    with pytest.raises(TrainingError, match="gradient"):
        SearchConfig("proxyless", gradient="three")
    with pytest.raises(TrainingError, match="reference_ms"):
        SearchConfig("proxyless", reference_ms=0)
