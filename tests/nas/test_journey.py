"""The user's journey through the real command line: train, profile, search, export, report, describe."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from nas.pareto import pareto_front
from search_spaces import get_space


def test_front_is_measured_and_non_dominated(front):
    Y = np.array([[100 - e["accuracy"], e["latency_ms"]["median"]] for e in front["front"]])
    assert len(Y) and len(pareto_front(Y)) == len(Y)
    for entry in [*front["front"], *front["baselines"]]:
        assert entry["latency_runs"] > 0
        assert entry["latency_ms"]["p10"] <= entry["latency_ms"]["median"] <= entry["latency_ms"]["p90"]
    assert front["evaluations"] == 14 and front["predictor"]["subnets"] == 14
    assert [n for n, _ in front["curve"]] == list(range(1, 15))


def test_export_is_what_flax_computes(run_folder, nas, pictures_file, front, tmp_path):
    done = nas("export", run_folder, "--pick", "fastest", "--pick", "most_accurate", "--int8", "--pixels", "--json")
    assert done.returncode == 0, done.stderr
    cards = json.loads(done.stdout)["exports"]
    assert [card["name"] for card in cards] == ["fastest", "fastest-int8", "most_accurate", "most_accurate-int8"]
    data = np.load(pictures_file)
    for card in cards:
        assert json.loads(Path(card["path"]).with_suffix(".json").read_text()) == card
        session = onnxruntime.InferenceSession(card["path"], providers=["CPUExecutionProvider"])
        mean, std = (np.array(card["preprocessing"][key], np.float32) for key in ("mean", "std"))
        images = ((data["x_test"] * np.float32(1 / 255) - mean) / std).transpose(0, 3, 1, 2)
        name = session.get_inputs()[0].name
        outputs = np.concatenate([session.run(None, {name: image[None]})[0].reshape(1, -1) for image in images])
        assert 100 * np.mean(outputs.argmax(axis=1) == data["y_test"]) == pytest.approx(card["accuracy"])
        if card["precision"] == "fp32":
            assert card["max_abs_diff"] <= 1e-4
            assert abs(card["accuracy"] - card["accuracy_flax"]) <= 2 * 100 / 120
            assert card["arch"] in [entry["arch"] for entry in front["front"]]
            inside = onnxruntime.InferenceSession(card["pixels_path"], providers=["CPUExecutionProvider"])
            found = np.concatenate(
                [inside.run(None, {"pixels": image[None]})[0].reshape(1, -1) for image in data["x_test"]]
            )
            assert np.abs(found - outputs).max() <= 1e-4
            _the_example_agrees(card, data["x_test"][0], outputs[0], tmp_path)
    space = get_space(cards[0]["space"]["name"], **cards[0]["space"]["options"])
    network = space.network(space.parse(cards[0]["arch"]))
    assert (network.macs, network.params) == (cards[0]["macs"], cards[0]["params"])


def _the_example_agrees(card, image, outputs, folder):
    """The program beside the file, on a picture of its own, in a process that sees nothing of ours."""
    from PIL import Image

    Image.fromarray(image[..., 0]).save(folder / "picture.png")
    program = Path(card["path"]).with_suffix(".py")
    done = subprocess.run([sys.executable, "-I", program, folder / "picture.png"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\t")[1].split()[0] == card["classes"][int(outputs.argmax())]
    text = Path(card["path"]).with_suffix(".md").read_text()
    assert card["arch"] in text and f"{card['accuracy']:.2f} %" in text


def test_report_is_one_offline_file(run_folder, nas, tmp_path):
    done = nas("report", run_folder, "--out", tmp_path / "r.html", "--picture", tmp_path / "front.png", "--json")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "r.html").read_text()
    assert json.loads(done.stdout)["report"].endswith("r.html")
    own = page.split('<script id="data"')[0]
    assert "src=" not in own and "href=" not in own and len(page) < 1_000_000
    data = json.loads(page.split('type="application/json">')[1].split("</script>")[0].replace("<\\/", "</"))
    blocks = data["devices"][0]["front"][0]["blocks"]
    assert sum(b.get("macs", 0) for b in blocks) == data["devices"][0]["front"][0]["macs"]
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_search_killed_and_resumed_writes_the_same_log(run_folder, nas, tmp_path):
    """SIGKILL in the middle of a real search; the resumed log equals the undisturbed one byte for byte."""
    import signal
    import subprocess
    import sys
    import time

    copy = tmp_path / "run"
    shutil.copytree(run_folder, copy)
    log = copy / "search" / "local-cpu-1t-ehvi-seed0.jsonl"
    whole = log.read_bytes()
    log.unlink()
    arguments = ["search", str(copy), "--evaluations", "14", "--batch", "4", "--measured", "5", "--workers", "0"]
    process = subprocess.Popen([sys.executable, "-m", "nas", *arguments], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not log.exists() or log.read_bytes().count(b"\n") < 6):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 6 <= log.read_bytes().count(b"\n") < whole.count(b"\n")
    done = nas(*arguments)
    assert done.returncode == 0, done.stderr
    assert log.read_bytes() == whole  # also: without Ray the same values as with two workers


def test_hard_limit_is_kept_and_measured(run_folder, nas, front):
    latencies = sorted(e["latency_ms"]["median"] for e in [*front["front"], *front["baselines"]])
    limit = 0.5 * (latencies[0] + latencies[-1])
    done = nas(
        "search", run_folder, "--searcher", "random", "--limit-ms", f"{limit:.4f}", "--evaluations", 8, "--workers", 0,
        "--device", "local-cpu-1t", "--seed", 3, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert all(latency <= document["limit_ms"] for _, latency in document["evaluated"])
    assert all(e["latency_ms"]["upper"] <= document["limit_ms"] for e in document["front"])
    assert all(e["latency_ms"]["upper"] > document["limit_ms"] for e in document["over_limit"])


def test_optuna_study_is_a_real_one(run_folder, nas):
    done = nas("search", run_folder, "--searcher", "optuna-tpe", "--evaluations", 6, "--workers", 0, "--seed", 5)
    assert done.returncode == 0, done.stderr
    import optuna

    url = f"sqlite:///{run_folder}/search/local-cpu-1t-optuna-tpe-seed5.db"
    (study,) = optuna.get_all_study_names(url)
    trials = optuna.load_study(study_name=study, storage=url).get_trials(states=[optuna.trial.TrialState.COMPLETE])
    assert len(trials) >= 6


def test_describe_counts_and_predicts(run_folder, nas, front):
    entry = front["front"][0]
    done = nas("describe", run_folder, "--arch", entry["arch"], "--device", "local-cpu-1t", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["macs"], document["params"]) == (entry["macs"], entry["params"])
    assert document["latency_ms"]["median"] == pytest.approx(entry["predicted_latency_ms"]["median"])
    assert document["latency_ms"]["low"] <= document["latency_ms"]["median"] <= document["latency_ms"]["high"]
    assert sum(op["macs"] for op in document["operators"]) == entry["macs"]


@pytest.mark.parametrize("command", ["spaces", "devices"])
def test_lists(nas, command):
    document = json.loads(nas(command, "--json").stdout)
    assert {"ofa_mbv3", "local-cpu-1t"} & {row["name"] for row in document[command]}
    assert nas(command).returncode == 0


@pytest.mark.parametrize(
    "command", ["spaces", "describe", "devices", "profile", "train", "search", "export", "report", "demo"]
)
def test_help_has_an_example(nas, command):
    done = nas(command, "--help")
    assert done.returncode == 0 and "Example: nas" in done.stdout
