"""Parts of `scripts/bench_supernets.py`: stopped in time they keep a checkpoint, and go on from it, also elsewhere."""

from argparse import Namespace
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from supernet_parts import stages as stages_module
from supernet_parts.common import One, rebatched
from supernet_parts.quality import quality
from supernet_parts.stages import OutOfTime, Stages

from search_spaces import MBConvSpace, get_space
from supernets import TrainConfig

CONFIG = TrainConfig(method="scratch", arch="o0", epochs=3, warm_epochs=0, batch_size=32, peak_lr=0.05)


class Watched(Stages):
    """Time is over after so many steps, if ever; the steps are noted."""

    def __init__(self, out, after=None, pack=None):
        super().__init__(Namespace(out=out, seconds=None, pack=pack), "toy")
        self.steps, self.after = [], after

    @property
    def over(self):
        return self.after is not None and len(self.steps) >= self.after

    def train(self, *arguments, **more):
        return super().train(*arguments, on_step=lambda report: self.steps.append(report.step), **more)


@pytest.fixture(scope="module")
def toy():
    """One network, of two narrow stages for small grey pictures."""
    full = get_space("ofa_mbv3", width=0.1, num_classes=4, resolutions=12, stem_stride=2, in_channels=1).spec
    two = MBConvSpace("two_stages", replace(full, stages=full.stages[:2]), {})
    return One(two.network(0 * two.cardinality))


@pytest.fixture
def data(pictures):
    images, labels = pictures
    moments = {"mean": np.array([0.3], np.float32), "std": np.array([0.3], np.float32)}
    return SimpleNamespace(train_images=images, train_labels=labels, **moments)


def saved(folder):
    """Steps of the checkpoints in a folder."""
    return sorted(int(path.name) for path in folder.glob("[0-9]*"))


def test_training_that_is_out_of_time_goes_on_where_it_stopped(tmp_path, toy, data):
    """Steps are still under way when time is over; they are in the checkpoint."""
    stages = Watched(tmp_path, after=4)
    with pytest.raises(OutOfTime, match="net"):
        stages.train(toy, data, CONFIG, "net")
    [step] = saved(tmp_path / "net")
    assert 4 <= step < 9 and stages.steps == list(range(1, step + 1))
    seconds = float((tmp_path / "net.seconds").read_text())

    again = Watched(tmp_path)
    _, in_all = again.train(toy, data, CONFIG, "net")
    assert again.steps == list(range(step + 1, 10)) and saved(tmp_path / "net")[-1] == 9
    assert in_all > seconds


def test_what_is_packed_goes_on_in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(stages_module, "_PIECE", 4096)
    here, there = Watched(tmp_path / "here", pack=tmp_path / "pack"), tmp_path / "there"
    here("accuracy", lambda: [1.5, 2.5])
    for step in ("2", "10"):
        (here.out / "net" / step).mkdir(parents=True)
        (here.out / "net" / step / "weights").write_text(step)
    here.packed()
    assert len(list((tmp_path / "pack").iterdir())) > 1

    there.mkdir()
    found = Watched(there, pack=tmp_path / "pack")
    assert found.results == {"accuracy": [1.5, 2.5]} and found("accuracy", pytest.fail) == [1.5, 2.5]
    assert saved(there / "net") == [10] and (there / "net" / "10" / "weights").read_text() == "10"


def test_a_folder_in_use_is_not_unpacked_over(tmp_path):
    Watched(tmp_path / "here", pack=tmp_path / "pack").packed()
    newer = Watched(tmp_path / "there")
    newer("accuracy", lambda: 3.0)
    assert Watched(tmp_path / "there", pack=tmp_path / "pack").results == {"accuracy": 3.0}


def test_rate_goes_with_the_batch():
    assert rebatched(CONFIG, 0) is CONFIG
    assert rebatched(CONFIG, 128) == replace(CONFIG, batch_size=128, peak_lr=0.2)


@pytest.mark.slow
def test_quality_of_a_toy_that_is_stopped_and_goes_on(tmp_path, shared_data):
    options = Namespace(quick=True, method="sandwich", batch=0)
    stages = Watched(tmp_path, after=3)
    with pytest.raises(OutOfTime, match="supernet"):
        quality(options, stages)
    [step] = saved(tmp_path / "supernet")
    assert 3 <= step < 9 and stages.results == {}

    again = Watched(tmp_path)
    document = quality(options, again)
    assert again.steps[0] == step + 1
    assert [row["network"] for row in document["rows"]] == ["smallest", "median", "largest"]
    assert all(0 < row[name] <= 100 for row in document["rows"] for name in ("inherited", "fine_tuned", "scratch"))
