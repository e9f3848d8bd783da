"""Resume: a search killed anywhere leaves, after resuming, the log of an undisturbed one."""

import json

import numpy as np
import pytest

from nas.errors import RunError
from nas.search import make_searcher, search
from search_spaces import get_space

SPACE = get_space("ofa_mbv3", width=0.25, num_classes=10, resolutions=(16,), stem_stride=1)


class Killed(Exception):
    """Stands for the end of the process."""


def evaluate(X):
    return [(100.0 - float(SPACE.network(x).params) / 1e5, SPACE.network(x).macs / 1e6) for x in X]


def run(log, name="nsga2", die_after=None, seed=0, **options):
    done = []

    def dying(X):
        for row in evaluate(X):
            if die_after is not None and len(done) == die_after:
                raise Killed
            done.append(row)
            yield row

    searcher = make_searcher(name, SPACE, seed=seed)
    result = search(
        SPACE, dying, searcher=searcher, evaluations=40, batch=8, log=log, options={"seed": seed, **options}
    )
    return result, len(done)


@pytest.mark.parametrize("name", ["nsga2", "linas", "optuna-tpe"])
def test_resumed_log_is_byte_for_byte_the_undisturbed_one(tmp_path, name):
    run(tmp_path / "whole.jsonl", name)
    whole = (tmp_path / "whole.jsonl").read_bytes()
    for die_after in (0, 5, 8, 23):
        log = tmp_path / f"{die_after}.jsonl"
        with pytest.raises(Killed):
            run(log, name, die_after)
        with log.open("ab") as file:
            file.write(b'{"arch": "r16_d2-k3')  # the line that was being written
        _, evaluated = run(log, name)
        assert log.read_bytes() == whole
        assert evaluated == 40 - die_after


def test_finished_search_evaluates_nothing_again(tmp_path):
    first, _ = run(tmp_path / "log.jsonl")
    second, evaluated = run(tmp_path / "log.jsonl")
    assert evaluated == 0 and (first.X == second.X).all() and np.array_equal(first.Y, second.Y)


def test_changed_option_is_named(tmp_path):
    run(tmp_path / "log.jsonl", limit=5.0)
    before = (tmp_path / "log.jsonl").read_bytes()
    with pytest.raises(RunError, match=r"limit=5.0, now it is 6.0"):
        run(tmp_path / "log.jsonl", limit=6.0)
    assert (tmp_path / "log.jsonl").read_bytes() == before


@pytest.mark.parametrize("damage", ["not json", '{"arch": "r16"}', "[]", json.dumps({"error": 1})])
def test_damaged_line_is_named(tmp_path, damage):
    log = tmp_path / "log.jsonl"
    run(log)
    lines = log.read_text().splitlines()
    lines[3] = damage
    log.write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match="line 4 is damaged"):
        run(log)
