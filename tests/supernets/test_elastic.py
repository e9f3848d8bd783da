"""One program for all subnets, and the same outputs stand-alone, in Flax and in ONNX Runtime."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from latency_tables import onnx_model
from search_spaces import MBConvSpace, get_space, reference_network
from supernets import Calibrator, NetworkModule, export_weights, extract, init_params, sort_channels
from supernets.images import nchw
from supernets.params import bind, supernet


@pytest.fixture(scope="module")
def program(space):
    graph = supernet(space)
    return jax.jit(lambda params, images, genes, given=None: bind(graph, params)(images, genes, given))


def images(size, n=16):
    return jnp.asarray(np.random.default_rng(size).normal(size=(n, size, size, 1)), jnp.float32)


def some(space, n=8):
    """The smallest, the largest and random genotypes."""
    ends = np.stack([np.zeros(len(space.genes), dtype=np.int64), space.cardinality - 1])
    return space.canonical(np.concatenate([ends, space.sample(np.random.default_rng(0), n)])).astype(np.int32)


def test_one_program_a_resolution_serves_all_subnets(space, params, program):
    before = program._cache_size()
    for x in some(space):
        program(params, images(space.spec.resolutions[x[0]]), x)
    assert program._cache_size() - before == len(space.spec.resolutions)
    for x in some(space, 20):
        program(params, images(space.spec.resolutions[x[0]]), x)
    assert program._cache_size() - before == len(space.spec.resolutions)


def test_extracted_network_equals_the_supernet(space, params, program):
    for x in some(space, 2):
        batch = images(space.spec.resolutions[x[0]])
        expected, stats = program(params, batch, x)
        module, _ = extract(params, space.network(x), stats)
        np.testing.assert_allclose(module(batch), expected, atol=1e-4)
        np.testing.assert_allclose(module(batch, use_batch_statistics=True), expected, atol=1e-4)
        again, _ = program(params, batch, x, stats)
        np.testing.assert_allclose(again, expected, atol=1e-4)


def test_extracted_network_equals_the_supernet_of_proxylessnas_blocks(rng):
    """No convolution after pooling, ReLU6 throughout, a stage of one depth."""
    spec = get_space("ofa_proxyless", width=0.1, num_classes=4, resolutions=8, stem_stride=1, in_channels=1).spec
    space = MBConvSpace("last_stages", replace(spec, stages=spec.stages[4:]), {})
    params = {name: value + 0.3 * rng.normal(size=value.shape) for name, value in init_params(space, 0).items()}
    for x in (space.largest, space.sample(rng, 1)[0]):
        expected, stats = bind(supernet(space), params)(images(8), jnp.asarray(x))
        module, _ = extract(params, space.network(x), stats)
        np.testing.assert_allclose(module(images(8)), expected, atol=1e-4)


def test_subnets_differ(space, params, program):
    outputs = [np.asarray(program(params, images(12), x)[0]) for x in some(space) if space.spec.resolutions[x[0]] == 12]
    assert all(np.abs(a - b).max() > 1e-3 for i, a in enumerate(outputs) for b in outputs[:i])


def test_onnx_runtime_equals_flax(space, params):
    calibrator = Calibrator(space, params, batch_size=8)
    for x in some(space, 4):
        network = space.network(x)
        batch = images(network.size)
        module, tensors = extract(params, network, calibrator(x, batch))
        model = onnx_model(network, export_weights(tensors), batch=len(batch))
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        found = session.run(None, {session.get_inputs()[0].name: nchw(batch)})[0].reshape(len(batch), -1)
        np.testing.assert_allclose(found, module(batch), atol=1e-4)


def test_recalibration_is_the_mean_of_batch_moments(space, params, program):
    x, batch = some(space)[2], images(12)
    x = x.copy()
    x[0] = 1
    calibrator = Calibrator(space, params, batch_size=8)
    found = calibrator(x, batch)
    halves = [program(params, batch[i : i + 8], x)[1] for i in (0, 8)]
    for name, (mean, variance) in found.items():
        np.testing.assert_allclose(mean, (halves[0][name][0] + halves[1][name][0]) / 2, atol=1e-5)
        np.testing.assert_allclose(variance, (halves[0][name][1] + halves[1][name][1]) / 2, atol=1e-5)
    for other in some(space):
        calibrator(other, images(space.spec.resolutions[other[0]]))
    assert calibrator.programs == len(space.spec.resolutions)


def test_sorting_channels_keeps_the_largest_network(space, params, program):
    largest = some(space)[1]
    moved = sort_channels(params, space)
    np.testing.assert_allclose(
        program(moved, images(12), largest)[0], program(params, images(12), largest)[0], atol=1e-5, rtol=1e-5
    )
    importance = jnp.abs(moved["stage2.block2.project.kernel"]).sum(axis=1)
    assert (jnp.diff(importance) <= 1e-6).all()
    assert any((moved[name] != params[name]).any() for name in params)


@pytest.mark.parametrize("name", ["mobilenet_v2", "mnasnet_a1", "fbnet_a", "resnet50"])
def test_module_has_exactly_the_networks_parameters(name):
    from flax import nnx

    network = reference_network(name)
    module = nnx.eval_shape(lambda: NetworkModule(network, rng=np.random.default_rng(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param))) == network.params


def test_parameter_names_are_operator_names(space, params):
    operators = {op.name for op in space.network(space.cardinality - 1)}
    assert {name.rpartition(".")[0] for name in params} <= operators
