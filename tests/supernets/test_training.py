"""Training learns, resumes bit for bit, and says what is wrong."""

import shutil
import signal
from dataclasses import replace

import jax
import numpy as np
import pytest

from search_spaces import MBConvSpace, get_space
from supernets import TrainConfig, init_params, load_params, train
from supernets.chain import gradient
from supernets.errors import CheckpointError, TrainingError
from supernets.params import bind, supernet
from supernets.prepare import prepare, uniform_networks
from supernets.programs import count

CONFIG = TrainConfig(epochs=4, warm_epochs=2, batch_size=32, random_subnets=1, peak_lr=0.05, shift=1, flip=False)
_FULL = get_space("ofa_mbv3", width=0.1, num_classes=4, resolutions=12, stem_stride=2, in_channels=1).spec
_STAGES = tuple(replace(stage, depths=(1, 2), kernels=(3, 5)) for stage in _FULL.stages[:2])
SPACE = MBConvSpace("two_stages", replace(_FULL, stages=_STAGES), {"classes": 4})


class Killed(Exception):
    """Stands for the end of the process."""


def run(folder, pictures, config=CONFIG, die_at=None, space=SPACE):
    reports = []

    def on_step(report):
        reports.append(report)
        if report.step == die_at:
            raise Killed

    images, labels = pictures
    moments = {"mean": np.array([0.3], np.float32), "std": np.array([0.3], np.float32)}
    params = train(space, images, labels, config=config, folder=folder, on_step=on_step, **moments)
    return params, reports


@pytest.fixture(scope="module")
def whole(tmp_path_factory, pictures):
    folder = tmp_path_factory.mktemp("whole")
    return folder, *run(folder, pictures)


def test_learns(whole):
    _, _, reports = whole
    assert [report.step for report in reports] == list(range(1, 13)) and reports[-1].steps == 12
    assert reports[-1].loss < reports[0].loss


@pytest.mark.parametrize("die_at", [4, 8])
def test_resume_is_bit_for_bit(tmp_path, pictures, whole, die_at):
    """Killed in the warm-up or after it, with the last checkpoint a few steps back."""
    every_step = replace(CONFIG, checkpoint_seconds=0.0)
    reference, _ = run(tmp_path / "reference", pictures, every_step)
    with pytest.raises(Killed):
        run(tmp_path / "run", pictures, every_step, die_at=die_at)
    params, reports = run(tmp_path / "run", pictures, every_step)
    assert len(reports) < 12
    assert all(np.array_equal(params[name], reference[name]) for name in reference)
    assert all(np.array_equal(params[name], whole[1][name]) for name in reference)


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, checkpoint_seconds=0.0)], ids=["between", "just saved"])
def test_ctrl_c_saves_and_resumes(tmp_path, pictures, whole, config):
    images, labels = pictures
    moments = {"mean": np.array([0.3], np.float32), "std": np.array([0.3], np.float32)}

    before = []

    def press(report):
        before.append(report)
        if report.step == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(SPACE, images, labels, config=config, folder=tmp_path, on_step=press, **moments)
    params, reports = run(tmp_path, pictures, config)
    assert before[-1].step < 8 and [r.step for r in (*before, *reports)] == list(range(1, 13))
    assert all(np.array_equal(params[name], whole[1][name]) for name in params)


def test_steps_compile_no_link_whether_begun_or_resumed(tmp_path, pictures):
    """What is prepared is what runs: arrays from a checkpoint, and made by a step, are of the same kind to JAX."""
    images, labels = pictures
    moments = {"mean": np.array([0.3], np.float32), "std": np.array([0.3], np.float32)}
    prepared, steps = [], []

    def note(report):
        steps.append((report.step, count()))
        if report.step == 8:
            signal.raise_signal(signal.SIGINT)

    def train_on():
        jax.clear_caches()
        train(
            SPACE, images, labels, config=CONFIG, folder=tmp_path, on_step=note,
            on_compiled=lambda done, total: prepared.append(count()), **moments,
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        train_on()
    assert {programs for _, programs in steps} == {prepared[-1]}
    steps.clear()
    train_on()
    assert {programs for _, programs in steps} == {prepared[-1]}


def test_finished_training_does_nothing(whole, pictures):
    folder, params, _ = whole
    again, reports = run(folder, pictures)
    assert reports == [] and all(np.array_equal(again[name], params[name]) for name in params)
    assert (folder / "metrics.csv").read_text().count("\n") == 5


def test_loaded_weights_are_the_trained_ones(whole):
    folder, params, _ = whole
    loaded = load_params(folder, SPACE)
    assert all(np.array_equal(loaded[name], params[name]) for name in params)


def subnet_gradient(space, params, x):
    size = space.spec.resolutions[x[0]]
    images = jax.random.normal(jax.random.key(0), (8, size, size, space.spec.in_channels))
    target, dropout = jax.numpy.full((8, 4), 0.25, np.float32), jax.numpy.ones((8, space.spec.feature_channels))
    return gradient(params, jax.tree.map(jax.numpy.zeros_like, params), space.network(x), images, target, dropout)


def test_zero_recompilations_once_prepared():
    params = init_params(SPACE, 0)
    prepare(uniform_networks(SPACE), params, 8)
    before = count()
    for x in SPACE.sample(np.random.default_rng(0), 20):
        subnet_gradient(SPACE, params, x)
    assert count() == before


def test_gradient_is_that_of_the_masked_supernet():
    """Two ways to the same derivative: true widths in a chain of programs, and one program with masks."""
    params, graph = init_params(SPACE, 0), supernet(SPACE)
    params = {n: v + 0.1 * np.random.default_rng(len(n)).standard_normal(v.shape) for n, v in params.items()}
    for x in SPACE.sample(np.random.default_rng(1), 3):
        images = jax.random.normal(jax.random.key(0), (8, 12, 12, 1))

        def loss(params, images=images, x=x):
            logits, _ = bind(graph, params)(images, jax.numpy.asarray(x))
            return -0.25 * jax.nn.log_softmax(logits).sum(axis=1).mean()

        value, grads = jax.jit(jax.value_and_grad(loss))(params)
        found = subnet_gradient(SPACE, params, x)
        np.testing.assert_allclose(found.loss, value, rtol=1e-5)
        for name, expected in grads.items():
            np.testing.assert_allclose(found.total[name], expected, atol=1e-4 * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("damage", ["truncate", "delete"])
def test_corrupt_checkpoint_is_one_clear_line(tmp_path, whole, damage):
    folder = tmp_path / "copy"
    shutil.copytree(whole[0], folder)
    step = folder / "12"
    victims = [p for p in step.rglob("*") if p.is_file()]
    for path in victims:
        path.unlink() if damage == "delete" else path.write_bytes(path.read_bytes()[:7])
    with pytest.raises(CheckpointError, match="damaged") as error:
        load_params(folder, SPACE)
    assert "\n" not in str(error.value)


def test_checkpoint_of_another_space(whole):
    other = MBConvSpace("two_stages", replace(SPACE.spec, num_classes=5), {"classes": 5})
    with pytest.raises(CheckpointError, match="is of space"):
        load_params(whole[0], other)


def test_missing_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_params(tmp_path / "nothing", SPACE)


def test_changed_option_is_named(whole, pictures):
    with pytest.raises(TrainingError, match=r"peak_lr=0.05, now it is 0.1"):
        run(whole[0], pictures, replace(CONFIG, peak_lr=0.1))


def test_exploding_loss_is_said(tmp_path, pictures):
    with pytest.raises(TrainingError, match="smaller --lr"):
        run(tmp_path, pictures, replace(CONFIG, peak_lr=1e30))


def test_options_are_checked():
    with pytest.raises(TrainingError, match=r"batch_size \(=1\)"):
        TrainConfig(batch_size=1)
    with pytest.raises(TrainingError, match="warm_epochs"):
        TrainConfig(epochs=2, warm_epochs=3)
    with pytest.raises(TrainingError, match=r"weight_decay \(=-0.1\)"):
        TrainConfig(weight_decay=-0.1)
