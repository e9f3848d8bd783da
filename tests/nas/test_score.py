"""`nas score` and `nas report --proxies`: order, JSON, and mistakes."""

import json

import numpy as np
import pytest

from nas.errors import UserError
from nas.report.proxies import heat_map, rank_correlations, write_proxy_report
from nas.runs import Run
from nas.score_run import check_proxies, evaluated_archs, read_archs, score_document, score_population
from nas.search.log import EvaluationLog
from search_spaces import get_space
from supernets.data import Dataset


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (32, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(32, dtype=np.int32) % 4
    return Dataset("noise", images, labels, images, labels, tuple("abcd"))


@pytest.fixture(scope="module")
def document(data):
    space = get_space("nasbench_macro", num_classes=4, image_size=8)
    X = np.array([space.parse(text) for text in ("00000000", "11000000", "00000001", "11000000")])
    scores = score_population(space, X, ("nwot", "params"), data, batch=8)
    return score_document(space, X, scores, data, 8, 0)


def test_scores_come_in_the_order_asked(document):
    assert [row["arch"] for row in document["scores"]] == ["00000000", "11000000", "00000001", "11000000"]
    assert document["scores"][1] == document["scores"][3] != document["scores"][2]
    assert all(set(row) == {"arch", "nwot", "params"} for row in document["scores"])
    assert document["scores"][0]["params"] == get_space("nasbench_macro", num_classes=4).network([0] * 8).params
    json.dumps(document, allow_nan=False)


def test_report_of_scores(document, tmp_path):
    file = tmp_path / "scores.json"
    file.write_text(json.dumps(document))
    page = write_proxy_report(file).read_text()
    assert "11000000" in page and "<svg" in page and "http" not in page
    with pytest.raises(UserError, match="holds no scores"):
        write_proxy_report(tmp_path / "nothing.json")


def test_evaluated_subnets_say_how_the_proxies_rank_them(data, tmp_path):
    space = get_space("nasbench_macro", num_classes=4, image_size=8)
    Run.create(tmp_path, space)
    with pytest.raises(UserError, match="no search"):
        evaluated_archs(tmp_path)
    log = EvaluationLog(space, ("error", "latency_ms"), tmp_path / "search" / "cpu.jsonl", {})
    texts = ("00000000", "11000000", "22222222", "00000001")
    for text, error in zip(texts, (60.0, 50.0, 20.0, 40.0), strict=True):
        log.append(np.array(space.parse(text)), (error, 1.0))
    with (tmp_path / "search" / "cpu.jsonl").open("a") as file:
        file.write('{"arch": "0000')  # a search is at work
    X, accuracy = evaluated_archs(tmp_path)
    assert [space.to_text(x) for x in X] == list(texts) and accuracy.tolist() == [40.0, 50.0, 80.0, 60.0]
    scores = score_population(space, X, ("params", "nwot"), data, batch=8)
    document = score_document(space, X, scores, data, 8, 0, accuracy)
    assert document["proxies"]["params"]["spearman"] == pytest.approx(1.0)  # accuracies above are in their order
    assert document["scores"][2]["accuracy"] == 80.0
    (tmp_path / "scores.json").write_text(json.dumps(document))
    page = write_proxy_report(tmp_path / "scores.json").read_text()
    assert "params 1.00" in page and page.count("<circle") == 2 * len(texts)


def test_heat_map_knows_constants():
    matrix = rank_correlations(np.array([[1.0, 5, 2], [2, 5, 1], [3, 5, 0]]))
    assert matrix[0, 2] == pytest.approx(-1) and np.isnan(matrix[0, 1])
    assert heat_map(["a", "b", "c"], matrix).count("<rect") == 9


def test_archs_are_read_line_by_line(tmp_path):
    space, file = get_space("nasbench_macro"), tmp_path / "archs.txt"
    file.write_text("01201201\n\n 22222222\n")
    assert read_archs(file, space).tolist() == [[0, 1, 2, 0, 1, 2, 0, 1], [2] * 8]
    file.write_text("01201201\n012\n")
    with pytest.raises(UserError, match="line 2"):
        read_archs(file, space)
    file.write_text("\n")
    with pytest.raises(UserError, match="no architectures"):
        read_archs(file, space)
    with pytest.raises(UserError, match="Cannot read"):
        read_archs(tmp_path / "missing.txt", space)


def test_proxies_are_checked():
    assert check_proxies(["nwot", "synflow", "nwot"]) == ("nwot", "synflow")
    with pytest.raises(UserError, match="'accuracy' is unknown"):
        check_proxies(["accuracy"])
