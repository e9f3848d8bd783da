"""`nas retrain`, `nas eval`, and differentiable search from a real table."""

import json

import numpy as np
import pytest

from search_spaces import get_space


def test_eval_of_one_network(nas, run_folder, front):
    arch = front["front"][0]["arch"]
    done = nas("eval", run_folder, "--arch", arch, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["networks"]
    assert row["arch"] == arch and 0 <= row["accuracy"] <= 100
    assert row["accuracy_validation"] == pytest.approx(front["front"][0]["accuracy"])
    wrong = nas("retrain", run_folder, "--arch", "nonsense")
    assert wrong.returncode == 2 and len(wrong.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_retrain_of_one_network(nas, run_folder, front):
    arch = front["front"][0]["arch"]
    command = ["retrain", run_folder, "--arch", arch, "--epochs", 2, "--batch-size", 40, "--lr", 0.05, "--json"]
    done = nas(*command, "--inherit", "--distill")
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    assert card["trained"] == "inherit-taught" and card["arch"] == arch and card["accuracy"] > 25
    again = nas(*command, "--inherit", "--distill")  # nothing left to train
    assert json.loads(again.stdout)["accuracy"] == card["accuracy"]


def test_mistakes_are_one_line(nas, tmp_path, pictures_file):
    common = ["--data", pictures_file, "--out", tmp_path / "run"]
    for arguments, word in (
        (["ofa_mbv3", "--method", "magic"], "method"),
        (["nasbench_macro"], "colour"),
        (["fbnet", "--method", "proxyless"], "reference-ms"),
        (["ofa_mbv3", "--method", "fbnet"], "fbnet"),
        (["ofa_mbv3", "--method", "scratch"], "arch"),
        (["ofa_mbv3", "--hosts", "nowhere"], "hosts"),
        (["ofa_mbv3", "--shift", -1], "shift"),
        (["fbnet", "--method", "proxyless", "--reference-ms", 1, "--weight-decay", 0.1], "weight-decay"),
    ):
        done = nas("train", *arguments, *common)
        assert done.returncode == 2 and word in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_latency_model_is_the_tables_sum():
    from supernets.architecture import latency_model

    space = get_space("proxyless", image_size=32, width=0.25)
    model = latency_model(space, lambda op: [op.macs / 1e6 + 0.01], 0.25)
    for x in space.sample(np.random.default_rng(0), 10):
        network = space.network(x)
        assert model.of(x) == pytest.approx(0.25 + sum(op.macs / 1e6 + 0.01 for op in network))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["proxyless", "fbnet"])
def test_differentiable_search_from_profile_to_export(nas, tmp_path, pictures_file, method):
    """A family's space is profiled, searched by gradients, searched again by evolution, and exported."""
    options = ["-o", "image_size=12", "-o", "stem_stride=2", "-o", "in_channels=1", "-o", "num_classes=4"]
    options += ["-o", "channels=8,8,8,8,8,8,8,8,8"]
    folder = tmp_path / "run"
    environment_table = tmp_path / "table.parquet"
    done = nas("profile", method, *options, "--out", environment_table, "--networks", 12, timeout=600)
    assert done.returncode == 0, done.stderr
    training = ["--epochs", 3, "--warm-epochs", 1, "--batch-size", 32, "--validation", 80, "--table", environment_table]
    command = ["train", method, "--method", method, "--data", pictures_file, "--out", folder, *options, *training]
    done = nas(*command, "--reference-ms", 0.05, "--json", timeout=900)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["best"]["model_latency_ms"] == pytest.approx(document["best"]["predicted_latency_ms"]["median"])
    search = ["search", folder, "--table", environment_table, "--evaluations", 10, "--batch", 4, "--measured", 3]
    done = nas(*search, "--workers", 1, timeout=900)
    assert done.returncode == 0, done.stderr
    done = nas("export", folder, "--pick", "fastest", "--json", timeout=600)
    assert done.returncode == 0, done.stderr
    retraining = ["retrain", folder, "--sampled", 1, "--epochs", 1, "--batch-size", 40, "--json"]
    done = nas(*retraining, timeout=900)
    assert done.returncode == 0, done.stderr
    retrained = json.loads(done.stdout)
    cards = retrained.get("networks", [retrained])  # one, if the sampled network is the most probable one
    assert cards[0]["arch"] == document["best"]["arch"] and all(card["epochs"] == 1 for card in cards)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "options"),
    [
        ("mnasnet", ["image_size=32", "width=0.1"]),
        ("nasbench_macro", ["image_size=16"]),
        ("ofa_resnet50", ["resolutions=32"]),
    ],
)
def test_published_space_from_profile_to_export(nas, tmp_path, space, options):
    rng, data = np.random.default_rng(0), tmp_path / "colours.npz"
    labels = np.arange(160) % 4
    images = (rng.integers(0, 60, (160, 16, 16, 3)) + 60 * (labels % 3)[:, None, None, None]).astype(np.uint8)
    np.savez(data, x_train=images[:120], y_train=labels[:120], x_test=images[120:], y_test=labels[120:])
    own = [text for option in options for text in ("-o", option)]
    folder, rule = tmp_path / "run", ["--method", "single_path", "--random-subnets", 1, "--epochs", 1]
    training = [*rule, "--warm-epochs", 0, "--batch-size", 40, "--validation", 20]
    for arguments in (
        ["train", space, "--data", data, "--out", folder, *own, *training],
        ["profile", folder, "--networks", 8],
        ["search", folder, "--evaluations", 6, "--batch", 3, "--measured", 3, "--workers", 0, "--searcher", "random"],
        ["export", folder, "--pick", "fastest"],
    ):
        done = nas(*arguments, timeout=1200)
        assert done.returncode == 0, (arguments, done.stderr)
    assert (folder / "export" / "fastest.onnx").is_file()
