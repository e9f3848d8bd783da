"""Distilling stages: masks against networks at their true size, the loss's closed form."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces.hyperspace import Hyperspace, StageSpace
from search_spaces.spaceevo import STRIDES
from search_spaces.spaceevo_blocks import BLOCKS
from supernets import masked
from supernets.chain import forward
from supernets.distill import (
    DistillConfig,
    distil,
    judged_archs,
    mean_square,
    nsr,
    student_nsr,
)
from supernets.errors import TrainingError
from supernets.shared import init_networks

HYPER = Hyperspace(width=0.25, num_classes=4, resolutions=(28,), stem_stride=1, in_channels=1)


def test_noise_to_signal_ratio_by_hand():
    """Noise of variance 1/4 on a signal of variance 1 in one channel, of 4 in the other; the scale is the teacher's."""
    sign = jnp.array([1.0, -1.0, 1.0, -1.0]).reshape(1, 2, 2, 1)
    teacher = jnp.concatenate([sign, 2 * sign], axis=3)
    noise = 0.5 * jnp.array([1.0, 1.0, -1.0, -1.0]).reshape(1, 2, 2, 1)  # not correlated with the signal
    expected = (0.25 / (1 + 0.25) + 0.25 / (4 + 0.25)) / 2  # a tenth of the mean variance, 2.5, beside each
    assert float(nsr(teacher + noise, teacher)) == pytest.approx(expected, rel=1e-5)
    # with the student's variance, 1.25 and 4.25, as in the release: less
    student = (0.25 / (1.25 + 0.275) + 0.25 / (4.25 + 0.275)) / 2
    assert float(student_nsr(teacher + noise, teacher)) == pytest.approx(student, rel=1e-5)
    assert float(mean_square(teacher + noise, teacher)) == pytest.approx(0.25 / 2.5, rel=1e-5)
    assert float(nsr(30 * (teacher + noise), 30 * teacher)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "stage", "strides"),
    [
        (2, 4, STRIDES),
        pytest.param(1, 2, "212121", marks=pytest.mark.slow),
        pytest.param(0, 2, STRIDES, marks=pytest.mark.slow),
        pytest.param(4, 4, STRIDES, marks=pytest.mark.slow),
    ],
)
def test_masks_compute_the_network_itself(kind, stage, strides):
    """Result and gradient of random networks: of the superset's masked programs, and of the network alone."""
    space = StageSpace(replace(HYPER, strides=strides), stage, BLOCKS[kind], (5, 6), 28)
    superset, rng = space.superset, np.random.default_rng(0)
    networks = [superset] + [
        space.network(x) for x in (space.cardinality - 1, 0 * space.cardinality, *space.sample(rng, 1))
    ]
    params = {
        name: value + 0.2 * jnp.asarray(rng.normal(size=value.shape), jnp.float32)
        for name, value in init_networks(networks, 0).items()
    }
    x = jnp.asarray(rng.normal(size=(4, superset.size, superset.size, 5)), jnp.float32)
    network = networks[-1]
    y = masked.forward(params, superset, network, x)
    plain = forward(params, network, x)
    np.testing.assert_allclose(y.reshape(4, -1), plain, atol=1e-4 * float(jnp.abs(plain).max()))
    target = jnp.zeros_like(y)
    zeros = jax.tree.map(jnp.zeros_like, params)
    total, value = masked.gradient(params, zeros, superset, network, x, target, mean_of_squares)
    assert float(value) == pytest.approx(float((plain**2).mean()), rel=1e-4)
    name = "project_in.gamma"
    # the slope along one weight, by a difference
    step = 1e-2
    ends = [{**params, name: params[name].at[0].add(s * step)} for s in (1, -1)]
    up, down = (float((forward(p, network, x) ** 2).mean()) for p in ends)
    assert float(total[name][0]) == pytest.approx((up - down) / (2 * step), rel=0.05, abs=1e-3)


def test_half_precision_is_close_and_adds_up_in_single():
    """The gradient of bf16 activations points where that of fp32 does, and its sum stays fp32."""
    space = StageSpace(HYPER, 2, BLOCKS[2], (5, 6), 28)
    superset, rng = space.superset, np.random.default_rng(0)
    network, params = space.network(space.sample(rng, 1)[0]), init_networks([superset], 0)
    x = jnp.asarray(rng.normal(size=(8, superset.size, superset.size, 5)), jnp.float32)
    found = []
    for dtype in (jnp.float32, jnp.bfloat16):
        zeros = jax.tree.map(jnp.zeros_like, params)
        total, _ = masked.gradient(params, zeros, superset, network, x.astype(dtype), jnp.float32(1), off_target)
        assert {leaf.dtype for leaf in total.values()} == {jnp.dtype("float32")}
        found.append(np.concatenate([np.ravel(total[name]) for name in sorted(total)]))
    exact, half = found
    assert exact @ half / np.linalg.norm(exact) / np.linalg.norm(half) > 0.99
    assert np.linalg.norm(half) == pytest.approx(np.linalg.norm(exact), rel=0.05)


def off_target(student, target):
    return ((student.astype(jnp.float32) - target) ** 2).mean()


def mean_of_squares(student, teacher):
    return ((student - teacher) ** 2).mean()


def test_the_superset_has_every_operator():
    """Also the first block's skip, which the largest network of stage 4 may lack."""
    rng = np.random.default_rng(0)
    for kind in BLOCKS:
        space = StageSpace(HYPER, 4, kind, (5, 6), 28)
        largest = {op.name: op for op in space.superset}
        for x in space.sample(rng, 10):
            for op in space.network(x):
                name = op.name.replace(".add", ".skip") if "block1." in op.name else op.name
                assert op.out_shape[0] <= largest[name].out_shape[0]


def test_networks_of_every_pair_of_widths_are_judged():
    space = StageSpace(HYPER, 3, BLOCKS[1], (5, 6), 28)
    archs = judged_archs(space, 3, 0)
    assert archs.shape[:3] == (3, 4, 3)
    for i, j in np.ndindex(3, 4):
        for row in archs[i, j]:
            values = space.decode(row)
            assert (values["input.width"], values["stage3.width"]) == (HYPER.widths[2][i], HYPER.widths[3][j])
        assert not archs[i, j, 0, 2:].any()  # the smallest, for tight limits


@pytest.mark.slow
def test_a_stage_learns_with_and_without_rounding():
    """A teacher that is a linear map of its input: the loss falls, rounding costs little, and it repeats."""
    space = StageSpace(HYPER, 2, BLOCKS[3], (6, 8), 28)
    size = space.superset.size
    mix = np.random.default_rng(0).normal(size=(6, 8))

    def batch(step):
        x = np.random.default_rng([1, step]).normal(size=(16, size // 2, size // 2, 6)).repeat(2, 1).repeat(2, 2)
        return jnp.asarray(x, jnp.float32), jnp.asarray(x[:, ::2, ::2] @ mix, jnp.float32)

    config, held_out = DistillConfig(steps=40, int8_steps=10, batch_size=16, peak_lr=0.1, random=1, rows=1), [batch(99)]
    found = distil(space, batch, held_out, config)
    assert found.curve.shape == (50,) and found.curve[35:40].mean() < 0.5 * found.curve[:5].mean()
    assert found.curve[-5:].mean() < 1.3 * found.curve[35:40].mean()
    assert found.losses.shape == (2, 3, 1) and np.isfinite(found.losses).all()
    np.testing.assert_array_equal(distil(space, batch, held_out, config).losses, found.losses)
    # judged on what is held out, not on what was trained on: there the teacher is another, and all fail
    other = distil(space, batch, [(x, -y) for x, y in held_out], config)
    assert (other.losses > 2 * found.losses).all()
    # several batches count alike
    both = distil(space, batch, [*held_out, (held_out[0][0], -held_out[0][1])], config)
    np.testing.assert_allclose(both.losses, (found.losses + other.losses) / 2, rtol=1e-5)


def test_mistakes_are_told():
    for options, word in (
        ({"steps": 0}, "steps"),
        ({"rows": 0}, "rows"),
        ({"judged": 1}, "judged"),
        ({"loss": "mae"}, "nsr"),
    ):
        with pytest.raises(TrainingError, match=word):
            DistillConfig(**options)
