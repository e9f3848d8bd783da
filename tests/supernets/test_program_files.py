"""Programs from files are those that would have been traced, and damage makes them anew."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from search_spaces import MBConvSpace, get_space
from supernets import init_params, program_files, programs
from supernets.chain import gradient
from supernets.program_files import ProgramFiles

_FULL = get_space("ofa_mbv3", width=0.1, num_classes=4, resolutions=12, stem_stride=2, in_channels=1).spec
SPACE = MBConvSpace("one_stage", replace(_FULL, stages=_FULL.stages[:1]), {"classes": 4})


@pytest.fixture
def files(tmp_path):
    return ProgramFiles(tmp_path / "links", "here")


@pytest.fixture
def asked():
    """The gradient of a random network, every program looked for anew."""
    params = init_params(SPACE, 0)
    params = {n: v + 0.1 * np.random.default_rng(len(n)).standard_normal(v.shape) for n, v in params.items()}
    (x,) = SPACE.sample(np.random.default_rng(3), 1)
    images = jax.random.normal(jax.random.key(0), (8, 12, 12, 1))
    target, dropout = jax.numpy.full((8, 4), 0.25), jax.numpy.ones((8, SPACE.spec.feature_channels))

    def run(files):
        jax.clear_caches()
        total = jax.tree.map(jax.numpy.zeros_like, params)
        return gradient(params, total, SPACE.network(x), images, target, dropout, files=files)

    return run


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def never(*arguments, **more):
    raise AssertionError("traced")


def test_same_bits_and_a_later_start_traces_nothing(files, asked, monkeypatch):
    traced = asked(None)
    assert equal(asked(files), traced)
    names = {path.name for path in files.folder.iterdir()}
    monkeypatch.setattr(programs, "_differentiated", never)
    assert equal(asked(files), traced)
    assert {path.name for path in files.folder.iterdir()} == names
    with pytest.raises(AssertionError, match="traced"):  # another version, device or source finds nothing there
        asked(replace(files, conditions="elsewhere"))


def test_what_a_program_depends_on_tells_files_apart(files, asked):
    asked(files)
    before = len(list(files.folder.iterdir()))
    with jax.default_matmul_precision("highest"):
        asked(files)
    assert len(list(files.folder.iterdir())) == 2 * before


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped"])
def test_damaged_files_are_made_anew(files, asked, damage):
    expected = asked(files)
    for path in files.folder.iterdir():
        whole = path.read_bytes()
        half = len(whole) // 2
        flipped = whole[:half] + bytes([whole[half] ^ 0x55]) + whole[half + 1 :]
        path.write_bytes({"empty": b"", "cut": whole[:half], "flipped": flipped}[damage])
    sizes = {path: path.stat().st_size for path in files.folder.iterdir()}
    assert equal(asked(files), expected)
    assert damage == "flipped" or all(path.stat().st_size > size for path, size in sizes.items())
    assert all(program_files._read(path) for path in files.folder.iterdir())


def test_off_where_jax_keeps_nothing():
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        assert ProgramFiles.beside_compiled() is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
