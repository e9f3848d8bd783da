"""Progressive shrinking, AlphaNet's divergence, attentive sampling, the guard and what else a step can do."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces import ChoiceSpace, MBConvSpace, get_space
from supernets import TrainConfig, load_params, train
from supernets.augment import mix, randaugment
from supernets.chain import forward, gradient, moments
from supernets.draws import Draws, fair
from supernets.errors import TrainingError
from supernets.guard import HALVINGS, PATIENCE, Guard
from supernets.logs import EventFile, crc32c
from supernets.losses import adaptive_divergence, cross_entropy, divergence
from supernets.rules import AttentiveSampler
from supernets.schedule import PROGRESSIVE, draw, phase_at, rate_schedule, spans
from supernets.shared import init_shared
from supernets.sorting import sort_channels
from supernets.update import rates

_FULL = get_space("ofa_mbv3", width=0.1, num_classes=4, resolutions=12, stem_stride=2, in_channels=1).spec
_STAGES = tuple(replace(stage, depths=(1, 2), kernels=(3, 5)) for stage in _FULL.stages[:2])
SPACE = MBConvSpace("two_stages", replace(_FULL, stages=_STAGES), {"classes": 4})
CONFIG = TrainConfig(epochs=3, warm_epochs=0, batch_size=32, random_subnets=1, peak_lr=0.05, shift=1, flip=False)


def run(folder, pictures, config, **more):
    reports = []
    images, labels = pictures
    moments = {"mean": np.array([0.3], np.float32), "std": np.array([0.3], np.float32)}
    space = more.pop("space", SPACE)
    params = train(space, images, labels, config=config, folder=folder, on_step=reports.append, **moments, **more)
    return params, reports


# -- progressive shrinking ---------------------------------------------------------------------


def test_published_schedule_keeps_its_shares():
    found = spans(6050)
    assert [span.end - span.start for span in found] == [1800, 1250, 250, 1250, 250, 1250]
    assert [s.phase.name for s in spans(6)] == [p.name for p in PROGRESSIVE]
    rate = jax.jit(rate_schedule(found, 2.6))
    assert float(rate(50)) == pytest.approx(2.6, rel=0.02) and float(rate(1799)) < 1e-4
    assert max(float(rate(step)) for step in range(1800, 3050, 7)) == pytest.approx(0.96, rel=0.02)
    assert float(rate(3050)) == pytest.approx(0.08, rel=0.02)
    with pytest.raises(TrainingError, match="at least 6 steps"):
        spans(5)


def test_phases_open_one_dimension_after_the_other():
    space = get_space("ofa_mbv3", resolutions=(32,))
    kinds = np.array([gene.name.rpartition(".")[2] for gene in space.genes])
    rng = np.random.default_rng(0)
    opened = {}
    for phase in PROGRESSIVE:
        X = np.concatenate([draw(space, phase, rng) for _ in range(50)])
        opened[phase.name] = {k: len(np.unique(X[:, kinds == k])) for k in ("kernel", "depth", "expand")}
        assert (X.max(axis=0) == space.cardinality - 1).all()
    assert [tuple(opened[p.name].values()) for p in PROGRESSIVE] == [
        (1, 1, 1),
        (3, 1, 1),
        (3, 2, 1),
        (3, 3, 1),
        (3, 3, 2),
        (3, 3, 3),
    ]
    assert phase_at(spans(600), 10_000).phase.name == "width 2"


def test_sorting_keeps_every_width_that_is_trained(space, params):
    """Full width before and after the first sort; full and middle width before and after the second."""
    images = jax.random.normal(jax.random.key(0), (8, 12, 12, 1))
    full = space.cardinality - 1
    middle = full.copy()
    for name, column in space.index.items():
        middle[column] -= name.endswith(".expand")
    narrow = middle.copy()
    for name, column in space.index.items():
        narrow[column] -= name.endswith(".expand")

    def outputs(params):
        return [np.asarray(forward(params, space.network(x), images)) for x in (full, middle, narrow)]

    before, first, second = (
        outputs(params),
        outputs(sort_channels(params, space)),
        outputs(sort_channels(params, space, 2)),
    )
    np.testing.assert_allclose(first[0], before[0], atol=1e-5, rtol=1e-5)
    assert np.abs(first[1] - before[1]).max() > 1e-3
    np.testing.assert_allclose(second[0], before[0], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(second[1], before[1], atol=1e-5, rtol=1e-5)
    assert np.abs(second[2] - before[2]).max() > 1e-3


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory, pictures):
    folder = tmp_path_factory.mktemp("ofa")
    config = replace(CONFIG, method="ofa", epochs=3)
    return folder, config, *run(folder, pictures, config)


@pytest.mark.slow
def test_ofa_trains_and_resumes_bit_for_bit(tmp_path, pictures, shrunk):
    _, config, whole, reports = shrunk
    assert reports[-1].step == 9 and np.isfinite(reports[-1].loss)

    class Killed(Exception):
        pass

    def die(report):
        if report.step == 6:  # in a phase with a teacher
            raise Killed

    images, labels = pictures
    every = replace(config, checkpoint_seconds=0.0)
    about = {"mean": np.array([0.3], np.float32), "std": np.array([0.3], np.float32)}
    with pytest.raises(Killed):
        train(SPACE, images, labels, config=every, folder=tmp_path, on_step=die, **about)
    params, rest = run(tmp_path, pictures, every)
    assert rest[0].step >= 6
    assert all(np.array_equal(params[name], whole[name]) for name in whole)


def test_ofa_teacher_is_the_full_network_of_the_first_phase(shrunk):
    from supernets.checkpoint import Checkpoints

    folder, config, params, _ = shrunk
    saved, _ = Checkpoints(folder, SPACE).restore()
    assert saved["teacher"].keys() == params.keys()
    assert any((saved["teacher"][name] != np.asarray(params[name])).any() for name in params)
    assert all(np.array_equal(saved["params"][name], load_params(folder, SPACE)[name]) for name in params)


def test_ofa_needs_elastic_blocks():
    with pytest.raises(TrainingError, match="method .=ofa"):
        Draws(space=get_space("fbnet"), config=replace(CONFIG, method="ofa"), steps=100, per_epoch=10)


# -- losses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.5, 1.0])
def test_divergence_has_the_gradient_of_its_surrogate(alpha):
    p = jax.nn.softmax(0.3 * jax.random.normal(jax.random.key(0), (3, 5)))
    logits = 0.3 * jax.random.normal(jax.random.key(1), (3, 5))

    def value(logits):
        return divergence(p, jax.nn.log_softmax(logits), alpha)[0].sum()

    def surrogate(logits):
        log_q = jax.nn.log_softmax(logits)
        _, rho = divergence(p, jax.lax.stop_gradient(log_q), alpha)
        return -(jnp.exp(jax.lax.stop_gradient(log_q)) * rho * log_q).sum()

    np.testing.assert_allclose(jax.grad(value)(logits), jax.grad(surrogate)(logits), atol=1e-5)
    assert float(value(logits)) > 0
    assert float(divergence(p, jnp.log(p), alpha)[0].sum()) == pytest.approx(0, abs=1e-5)


def test_divergence_has_its_closed_form():
    """Order 1 is KL(p|q), 0 KL(q|p), -1 half of Pearson's chi-squared; far away, the ratio is clipped at 5."""
    p, q = jnp.array([[0.5, 0.3, 0.2]]), jnp.array([[0.4, 0.4, 0.2]])
    expected = {1.0: (p * jnp.log(p / q)).sum(), 0.0: (q * jnp.log(q / p)).sum(), -1.0: ((q * q / p).sum() - 1) / 2}
    for alpha, value in expected.items():
        assert float(divergence(p, jnp.log(q), alpha)[0][0]) == pytest.approx(float(value), rel=1e-5)
    far = divergence(jnp.array([[1e-6, 1 - 1e-6]]), jnp.log(jnp.array([[0.5, 0.5]])), -1.0)[0]
    assert float(far[0]) == pytest.approx((0.5 * 5 + 0.5 * 0.5 - 1) / 2, rel=1e-3)


def test_adaptive_divergence_takes_the_larger_one():
    teacher = jax.nn.softmax(jax.random.normal(jax.random.key(0), (6, 5)))
    logits = 2 * jax.random.normal(jax.random.key(1), (6, 5))
    log_q = jax.nn.log_softmax(logits)
    both = [divergence(teacher, log_q, alpha)[0] for alpha in (-1.0, 1.0)]
    assert float(adaptive_divergence(logits, teacher)) == pytest.approx(float(jnp.maximum(*both).mean()), rel=1e-5)
    # where the order is 1, the gradient is that of the cross entropy
    kl = jax.grad(lambda x: cross_entropy(x, teacher))(logits) * 6
    found = jax.grad(lambda x: adaptive_divergence(x, teacher))(logits) * 6
    first = np.asarray(both[1] >= both[0])
    assert first.any() and not first.all()
    np.testing.assert_allclose(found[first], kl[first], atol=1e-5)


# -- the rest of a step ------------------------------------------------------------------------


def test_fair_sampling_gives_every_choice_its_turn():
    space, rng = get_space("nasbench_macro"), np.random.default_rng(0)
    for _ in range(5):
        assert (np.sort(fair(space, rng, 3), axis=0) == np.arange(3)[:, None]).all()
    with pytest.raises(TrainingError, match="sampling"):
        TrainConfig(method="sandwich", sampling="fair")


def test_exponential_rate_ends_constant():
    rate = rates(replace(CONFIG, schedule="exponential", peak_lr=1.0), 1000)
    assert float(rate(50)) == pytest.approx(1.0, rel=0.01)
    assert float(rate(425)) == pytest.approx(0.05**0.5, rel=0.02)
    assert float(rate(820)) == pytest.approx(0.05, rel=1e-3) == float(rate(999))


def test_attentive_sampling_picks_by_loss():
    space = get_space("ofa_mbv3", resolutions=(32, 64))
    macs = {}

    def loss(network):
        macs[network.macs] = None
        return float(network.macs)

    rows = AttentiveSampler(space, "worst")(np.random.default_rng(0), 2, {0: 1}, loss)
    assert len(rows) == 2 and len(macs) == 6 and all(row[0] == 1 for row in rows)
    groups = [list(macs)[:3], list(macs)[3:]]
    assert [space.network(row).macs for row in rows] == [max(group) for group in groups]


@pytest.mark.parametrize(
    "options",
    [
        {"divergence": "alpha", "ema": 0.9, "randaugment": 5.0, "mixup": 0.2},
        {"sampling": "best"},
        pytest.param({"precision": "bf16"}, marks=pytest.mark.slow),  # a CPU compiles it slowly
    ],
    ids=["alphanet", "attentive", "bf16"],
)
def test_options_train(tmp_path, pictures, options):
    params, reports = run(tmp_path, pictures, replace(CONFIG, epochs=1, **options))
    assert np.isfinite(reports[-1].loss)
    assert all(value.dtype == jnp.float32 for value in params.values())
    assert all(np.array_equal(params[name], value) for name, value in load_params(tmp_path, SPACE).items())


@pytest.mark.slow
def test_half_precision_gradient_is_near():
    params = init_shared(SPACE, 0)
    network = SPACE.network(SPACE.cardinality - 1)
    images = jax.random.normal(jax.random.key(0), (16, 12, 12, 1))
    target, dropout = jnp.full((16, 4), 0.25), jnp.ones((16, SPACE.spec.feature_channels))
    zeros = jax.tree.map(jnp.zeros_like, params)
    exact = gradient(params, zeros, network, images, target, dropout)
    zeros = jax.tree.map(jnp.zeros_like, params)
    half = gradient(params, zeros, network, images.astype(jnp.bfloat16), target, dropout)
    assert float(half.loss) == pytest.approx(float(exact.loss), rel=0.02)
    assert half.logits.dtype == jnp.float32
    name = "classifier.kernel"
    assert float(jnp.linalg.norm(half.total[name] - exact.total[name]) / jnp.linalg.norm(exact.total[name])) < 0.05


def test_scratch_trains_one_network(tmp_path, pictures):
    arch = SPACE.to_text(SPACE.sample(np.random.default_rng(0), 1)[0])
    config = replace(CONFIG, method="scratch", arch=arch)
    params, reports = run(tmp_path, pictures, config)
    assert reports[-1].loss < reports[0].loss
    network = SPACE.network(SPACE.parse(arch))
    assert sum(value.size for name, value in params.items()) == network.params


def test_single_path_over_layer_choices(tmp_path, pictures):
    full = get_space("fbnet", num_classes=4, image_size=12, stem_stride=2, in_channels=1, channels=(8,) * 9)
    layers = tuple(replace(layer, candidates=layer.candidates[::4]) for layer in full.spec.layers[:3])
    space = ChoiceSpace("three_layers", replace(full.spec, layers=layers), {"classes": 4})
    config = replace(CONFIG, method="single_path", epochs=2)
    params, reports = run(tmp_path, pictures, config, space=space)
    assert np.isfinite(reports[-1].loss) and "block3.k5e6.expand.kernel" in params
    network = space.network(space.sample(np.random.default_rng(0), 1)[0])
    found = moments(params, network, jnp.zeros((4, 12, 12, 1)))
    assert found.keys() == {op.name for op in network if getattr(op, "norm", False)}


# -- guard, logs, augmentation -----------------------------------------------------------------


def test_guard_notices_a_collapse_to_guessing():
    guard = Guard()
    for _ in range(50):
        guard = guard.seen(math.log(10), 10)  # has not learnt yet: no collapse
    assert not guard.collapsed
    for _ in range(100):
        guard = guard.seen(0.5, 10)
    for _ in range(PATIENCE - 1):
        guard = guard.seen(math.log(10), 10)
    assert not guard.collapsed and guard.seen(math.log(10), 10).collapsed
    assert guard.halved("x", 0.1).rate == 0.5
    for _ in range(HALVINGS):
        guard = guard.halved("x", 0.1)
    with pytest.raises(TrainingError, match="smaller --lr"):
        guard.halved("The loss is nan", 0.1)


def test_training_goes_back_and_says_so(tmp_path, pictures):
    """A rate that is twice too large is halved until it works."""
    config = replace(CONFIG, peak_lr=1e21, clip_norm=1e30, epochs=1)
    with pytest.raises(TrainingError, match="even at 0.03125 of the rate"):
        run(tmp_path, pictures, config)


def test_events_are_records_that_tensorboard_reads(tmp_path):
    import struct

    assert crc32c(b"123456789") == 0xE3069283  # the published check value
    events = EventFile(tmp_path)
    events.scalars(300, {"loss": 0.5})
    events.close()
    data = next(tmp_path.iterdir()).read_bytes()
    records = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        records.append(data[12 : 12 + length])
        for part, crc in ((data[:8], data[8:12]), (records[-1], data[12 + length : 16 + length])):
            value = (struct.unpack("<I", crc)[0] - 0xA282EAD8) & 0xFFFFFFFF
            assert (value >> 17 | value << 15) & 0xFFFFFFFF == crc32c(part)
        data = data[16 + length :]
    assert b"brain.Event:2" in records[0]
    assert b"loss" in records[1] and struct.pack("<f", 0.5) in records[1] and bytes([16, 0xAC, 2]) in records[1]


def test_augmentation_keeps_range_and_labels_their_sum():
    images = jax.random.randint(jax.random.key(0), (32, 12, 12, 3), 0, 256).astype(jnp.uint8)
    same = randaugment(images, jax.random.key(1), 0.0)
    changed = randaugment(images, jax.random.key(1), 9.0)
    assert changed.min() >= 0 and changed.max() <= 255
    moved = (np.abs(np.asarray(changed) - np.asarray(images, np.float32)).max(axis=(1, 2, 3)) > 1).mean()
    assert 0.7 < moved <= 1
    assert (np.abs(np.asarray(same) - np.asarray(images, np.float32)).max(axis=(1, 2, 3)) < 1).mean() > 0.2
    target = jax.nn.one_hot(jnp.arange(32) % 4, 4)
    for mixup, cutmix in ((0.2, 0.0), (0.0, 1.0), (0.2, 1.0)):
        x, y = mix(changed, target, jax.random.key(2), mixup=mixup, cutmix=cutmix)
        assert x.shape == images.shape
        np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)
    x, y = mix(changed, target, jax.random.key(3), mixup=0.0, cutmix=1.0)
    share = (np.asarray(x[0]) == np.asarray(changed[0])).all(axis=-1).mean()
    assert share == pytest.approx(float(y[0, 0]), abs=0.05)
