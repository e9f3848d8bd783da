"""Teachers of a hyperspace: what is trained has maps of the sizes of all stages; a run without them is refused."""

from types import SimpleNamespace

import pytest

from nas.design.teaching import teachers_space
from search_spaces.hyperspace import Hyperspace
from search_spaces.spaceevo import STAGES, STRIDES
from supernets.teacher import cut_points, link_shapes


@pytest.mark.parametrize("strides", [STRIDES, "212121", 121212, "111111"])
def test_a_teacher_that_is_trained_has_the_strides_of_the_space(strides):
    images = SimpleNamespace(num_classes=4, channels=1, image_size=32)
    space = teachers_space(images, {"width": 0.25, "strides": strides, "activation": "relu"})
    assert space.name == ("ofa_mbv3" if strides == STRIDES else "spaceevo")
    hyper = Hyperspace(width=0.25, resolutions=(32,), stem_stride=1, strides=str(strides))
    wanted = tuple(hyper.size_before(s, 32) for s in range(1, len(STAGES) + 2))
    have = [size for _, size in link_shapes(space.network(space.largest))]
    assert tuple(have[i] for i in cut_points(have, wanted)) == wanted


def test_a_teacher_of_other_strides_is_refused_before_anything_is_measured(tmp_path, nas, made_run):
    out = tmp_path / "out"
    done = nas("design-space", "--teacher", made_run, "--out", out, "-o", "width=0.1", "-o", "strides=111111")
    assert done.returncode == 2 and "hyperspace has 7 stages" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (out / "tables").exists()
