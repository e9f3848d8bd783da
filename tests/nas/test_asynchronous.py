"""The asynchronous loop: any number of workers of any speed, killed anywhere, gives one and the same log."""

import numpy as np
import pytest

from nas.errors import RunError
from nas.search import make_searcher
from nas.search.asynchronous import search_asynchronously
from search_spaces import get_space

SPACE = get_space("ofa_mbv3", width=0.25, num_classes=10, resolutions=(16,), stem_stride=1)


class Killed(Exception):
    """Stands for the end of the process."""


class Workers:
    """Finishes up to `count` at a time, in an order drawn from a seed."""

    def __init__(self, count, seed, die_after=None):
        self.count, self.rng, self.die_after = count, np.random.default_rng(seed), die_after
        self.waiting, self.done, self.evaluated = {}, {}, []

    def submit(self, x):
        ticket = len(self.waiting) + len(self.done) + 1
        self.waiting[ticket] = x
        return ticket

    def result(self, ticket):
        while ticket not in self.done:
            running = [t for t in self.waiting if t not in self.done][: self.count]
            finished = running[self.rng.integers(len(running))]
            if len(self.evaluated) == self.die_after:
                raise Killed
            x = self.waiting[finished]
            self.evaluated.append(x.tobytes())
            self.done[finished] = (100.0 - SPACE.network(x).params / 1e5, SPACE.network(x).macs / 1e6)
        return self.done[ticket]


def run(log, workers, name="nsga2", **options):
    searcher = make_searcher(name, SPACE, seed=3)
    return search_asynchronously(
        SPACE, workers, searcher=searcher, evaluations=48, window=8, log=log, options={"window": 8, **options}
    )


@pytest.mark.parametrize("name", ["ehvi", "linas", "nsga2", "optuna-tpe"])
def test_workers_do_not_change_the_log(tmp_path, name):
    for i, count in enumerate((1, 3, 8)):
        run(tmp_path / f"{i}.jsonl", Workers(count, seed=i), name)
    logs = {(tmp_path / f"{i}.jsonl").read_bytes() for i in range(3)}
    assert len(logs) == 1


def test_killed_anywhere_it_resumes_to_the_same_log(tmp_path):
    run(tmp_path / "whole.jsonl", Workers(3, seed=0))
    whole = (tmp_path / "whole.jsonl").read_bytes()
    rng = np.random.default_rng(0)
    log, evaluated, kills = tmp_path / "killed.jsonl", 0, 0
    while True:
        workers = Workers(3, seed=kills, die_after=int(rng.integers(0, 9)))
        try:
            run(log, workers)
        except Killed:
            kills += 1
            evaluated += len(workers.evaluated)
            with log.open("ab") as file:
                file.write(whole[-40:-20])  # the line that was being written
            continue
        evaluated += len(workers.evaluated)
        break
    assert log.read_bytes() == whole
    assert kills >= 5 and 48 <= evaluated <= 48 + 8 * kills  # twice at most what was in flight


def test_changed_option_is_named(tmp_path):
    run(tmp_path / "log.jsonl", Workers(1, seed=0), limit=5.0)
    with pytest.raises(RunError, match=r"limit=5.0, now it is 6.0"):
        run(tmp_path / "log.jsonl", Workers(1, seed=0), limit=6.0)
