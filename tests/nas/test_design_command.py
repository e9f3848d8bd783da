"""`nas design-space` from pictures to a space that the other commands open."""

import json
from pathlib import Path

import numpy as np
import pytest

from nas.design.anchors import AnchorTrainer, anchors_of
from nas.design.best import best_under
from nas.design.reuse import earlier_design
from nas.design.scoring import Goal, opened, scorer
from nas.errors import RunError
from nas.spaces import is_named
from search_spaces import get_space
from search_spaces.spaceevo import STAGES

VNNI = Path(__file__).resolve().parents[2] / "benchmarks" / "designed-vnni"
OPTIONS = ["--steps", 3, "--int8-steps", 2, "--batch-size", 8, "--rows", 1, "--spaces", 30, "--population", 10]
OPTIONS += ["--tournament", 4, "--draws", 500, "--networks", 8, "--types", "resnet,mbv1_dual", "-o", "width=0.1"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Noise of 28 px, of half of them the upper half bright; enough for a batch of the teacher."""
    rng = np.random.default_rng(0)
    labels = np.arange(224) % 2
    images = rng.integers(0, 90, size=(224, 28, 28, 1))
    images[labels == 1, :14] += 120
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    images = images.astype(np.uint8)
    np.savez(path, x_train=images[:192], y_train=labels[:192], x_test=images[192:], y_test=labels[192:])
    return path


@pytest.mark.slow
def test_a_space_is_designed_continued_and_opened(tmp_path, nas, pictures):
    out = tmp_path / "designed"
    command = ["design-space", "--data", pictures, "--teacher-epochs", 1, "--limits", "0.2,1,9", "--out", out, *OPTIONS]
    done = nas(*command, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["score"] == max(document["curve"]) and len(document["curve"]) == 30
    assert set(document["speedup"]) == {"resnet", "mbv1_dual"}
    assert all(row["blocks"][row["block"]] == document["score"] for row in document["alternatives"])
    assert "Block types" in (out / "design.html").read_text()
    (path,) = out.glob("evolution-*.jsonl")
    log = path.read_text()
    # killed in the evolution and before some stages, which two processes then do: the same again
    path.write_text(log[: len(log) // 2])
    for name in ("stage3-resnet", "stage4-resnet", "stage6-mbv1_dual"):
        (out / "blocks" / f"{name}.npz").unlink()
    again = nas(*command, "--processes", 2, "--json")
    assert again.returncode == 0, again.stderr
    assert path.read_text() == log
    anchored(out, [*command, "--anchors", 1], nas)
    begun_from(out, tmp_path / "other", nas)
    described = nas("describe", out, "--json")
    assert described.returncode == 0, described.stderr
    other = nas(*command[:-2], "-o", "width=0.15")
    assert other.returncode == 2 and "another --out" in other.stderr and "Traceback" not in other.stderr


def anchored(out, command, nas):
    """One network is trained; the others' errors are there, and say that residual bottlenecks are the worse."""
    hyper, judged, lookup = opened(out)[:3]
    (fastest,) = best_under(lookup, (0,) * len(STAGES), ())
    limits = [fastest.latency_ms + 1e-6, 9.0]
    command[command.index("--limits") + 1] = ",".join(map(str, limits))
    anchors = anchors_of(lookup, {k: v.archs for k, v in judged.items()}, limits)
    trainer = AnchorTrainer(out / "anchors", out / "teacher", hyper, 1, True)
    trainer.folder.mkdir()
    errors = [50 + 20 * (a.loss - anchors[0].loss) + 24 * (a.kind == 3) for a in anchors]
    files = [trainer.path(a.kind, a.arch) for a in anchors]
    for path, error in zip(files[1:], errors[1:], strict=True):
        path.write_text(json.dumps({"error": error, "images": 10**9}))
    done = nas(*command)
    kept = json.loads(files[0].read_text())
    assert kept["images"] == 32 and kept["error"] * 32 % 100 == 0  # the images that the teacher kept out, some wrong
    assert done.returncode == 0 or "Anchors: a loss of 1" in done.stderr  # of so few images
    files[0].write_text(json.dumps({"error": errors[0], "images": 10**9}))
    done = nas(*command, "--json")
    assert done.returncode == 0, done.stderr
    designed = json.loads(done.stdout)
    rows, added = designed["anchors"]["networks"], designed["anchors"]["added"]
    assert [(row["arch"], row["error"]) for row in rows] == [(a.arch, e) for a, e in zip(anchors, errors, strict=True)]
    assert [path.name for path in trainer.folder.iterdir() if path.is_dir()] == []
    assert added == pytest.approx({"mbv1_dual": 0.0, "resnet": 24 / 20 / len(STAGES)})
    assert "Block types against each other" in (out / "design.html").read_text()
    now, plain = opened(out), scorer(lookup, Goal(tuple(limits), draws=500), designed["evolution"]["seed"])
    assert now.score(now.best) == pytest.approx(designed["score"])
    for at, row in enumerate(designed["alternatives"]):
        other = (*now.best[:at], 3, *now.best[at + 1 :])
        assert now.score(other) == pytest.approx(row["blocks"]["resnet"]) and now.score(other) < plain(other)


def begun_from(out, other, nas):
    """Another stem, head and limits: nothing is trained, and stages and anchors are the first design's."""
    few = ["--spaces", 12, "--population", 6, "--tournament", 3, "--draws", 500, "--networks", 8, "--no-compare-fp32"]
    lean = ["-o", "activation=relu", "-o", "features=0"]
    done = nas("design-space", "--from", out, "--limits", "0.3,8", "--out", other, *few, *lean, "--json")
    assert done.returncode == 0, done.stderr
    first, second = json.loads((out / "design.json").read_text()), json.loads(done.stdout)
    assert second["anchors"] == first["anchors"] and second["losses"] == first["losses"]
    assert opened(other).lookup.stages[1, 3].loss == pytest.approx(opened(out).lookup.stages[1, 3].loss)
    assert second["from"] == str(out) and second["space"]["options"]["features"] == 0
    done = nas(
        "design-space", "--from", out, "--limits", "0.3,8", "--out", other, *few, *lean, "--anchors", 0, "--json"
    )
    assert "anchors" not in json.loads(done.stdout) and json.loads(done.stdout)["score"] >= second["score"]
    assert not (other / "anchors").exists() and not (other / "teacher").exists()


def test_a_design_to_begin_from_must_serve(tmp_path, nas):
    """What would be dropped or does not fit is refused before anything is measured."""
    for name, arguments, word in (
        (VNNI, ["-o", "width=0.25"], "only activation and features"),
        (VNNI, ["--steps", 9], "leave out --steps"),
        (tmp_path / "out", [], "another folder than --from"),
        (VNNI, ["--types", "mbv4"], "'mbv4' is no block type"),
        (VNNI, ["--precision", "fp32"], "distilled with rounding"),
        (VNNI, ["--anchors", 3], "--anchors (=3) must be 0"),
        (VNNI, ["--data", "x"], "--from DESIGN"),
        (tmp_path, [], "has no design.json"),
    ):
        done = nas("design-space", "--from", name, "--out", tmp_path / "out", *arguments)
        assert done.returncode == 2 and word in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_block_types_can_be_left_out_of_a_design_to_begin_from(tmp_path):
    earlier = earlier_design(VNNI, {"features": 0}, (3, 5), int8=True)
    earlier.copy_stages(tmp_path)
    assert sorted({path.stem.partition("-")[2] for path in tmp_path.iterdir()}) == ["fused_mbconv", "resnet"]
    assert (earlier.hyper.types, earlier.hyper.options["features"], len(list(tmp_path.iterdir()))) == ((3, 5), 0, 12)


def test_stages_of_two_designs_are_not_mixed(tmp_path):
    earlier = earlier_design(VNNI, {}, (3,), int8=True)
    earlier.copy_stages(tmp_path)
    earlier.copy_stages(tmp_path)  # continued
    (tmp_path / "stage2-resnet.npz").write_bytes(b"another's")
    with pytest.raises(RunError, match="another --out"):
        earlier.copy_stages(tmp_path)


def test_a_stage_that_is_missing_is_named(tmp_path):
    document = VNNI / "design.json"
    (tmp_path / "design.json").write_bytes(document.read_bytes())
    with pytest.raises(RunError, match="stage1-mbv1_dual.npz' is missing"):
        earlier_design(tmp_path, {}, int8=True).copy_stages(tmp_path / "blocks")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--teacher RUN"),
        (["--data", "x", "--limits", "two"], "--limits"),
        (["--data", "x", "--limits", "0"], "--limits"),
        (["--data", "x", "--precision", "int4"], "--precision"),
        (["--data", "x", "--loss", "mae"], "nsr"),
        (["--data", "x", "--population", "4"], "tournament"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, nas, arguments, word):
    done = nas("design-space", "--out", tmp_path / "out", *arguments)
    assert done.returncode == 2 and word in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_designed_space_is_trained_by_its_folder(tmp_path, nas):
    """The name is taken, and what is wrong is the data; a folder that holds no space is an unknown name."""
    folder = tmp_path / "designed"
    folder.mkdir()
    options = {"blocks": "333333", "width": 0.1, "num_classes": 2, "resolutions": [28], "stem_stride": 1}
    (folder / "space.json").write_text(json.dumps({"name": "spaceevo", "options": options}))
    done = nas("train", folder, "--data", tmp_path / "none.npz", "--out", tmp_path / "run")
    assert done.returncode == 2 and "none.npz" in done.stderr and "unknown" not in done.stderr
    done = nas("train", tmp_path, "--data", tmp_path / "none.npz", "--out", tmp_path / "run")
    assert done.returncode == 2 and "is unknown" in done.stderr
    space = get_space("spaceevo", **(options | {"num_classes": 3}))
    assert is_named(space, str(folder)) and is_named(space, "spaceevo") and not is_named(space, "proxyless")
    other = get_space("spaceevo", **(options | {"blocks": "333334"}))
    assert not is_named(other, str(folder))
