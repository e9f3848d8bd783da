"""Optuna studies for others to see: on a real PostgreSQL server (the system's packages), in optuna-dashboard."""

import getpass
import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from urllib.request import urlopen
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import numpy as np
import optuna
import pytest

from nas.errors import UserError
from nas.search import make_searcher, search
from search_spaces import get_space


def _binary(name: str) -> str:
    """A server program: on the PATH, or where Debian's packages put it."""
    places = [shutil.which(name), *sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))]
    found = [place for place in places if place]
    if not found:
        pytest.skip(f"needs PostgreSQL's {name} (Debian: apt install postgresql)")
    return found[-1]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """URL of an empty database; the server listens on this machine only and ends with the tests."""
    initdb, control = _binary("initdb"), _binary("pg_ctl")
    user = "nobody" if os.geteuid() == 0 else getpass.getuser()  # the server refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="nas-postgresql-"))
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(*command: str) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        as_user = {"user": user} if os.geteuid() == 0 else {}
        done = subprocess.run(command, cwd=folder, timeout=120, **quiet, **as_user)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr

    data = str(folder / "data")
    try:
        call(initdb, "-D", data, "-U", "nas", "--auth=trust", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        call(control, "-D", data, "-l", str(folder / "log"), "-w", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://nas@127.0.0.1:{port}/postgres"
        finally:
            call(control, "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _trials(url: str, name: str) -> list[optuna.trial.FrozenTrial]:
    complete = [optuna.trial.TrialState.COMPLETE]
    return optuna.load_study(study_name=name, storage=url).get_trials(states=complete)


def test_a_search_finds_the_same_on_a_server_as_in_memory(postgresql):
    space = get_space("nasbench_macro")

    def evaluate(X):
        size = X.sum(axis=1).astype(float)
        return np.stack([-size + 0.1 * X[:, 0], size], axis=1)

    runs = [
        search(space, evaluate, searcher=make_searcher("optuna-tpe", space, seed=3, **options), evaluations=12)
        for options in ({}, {"storage": postgresql, "study_name": "same"})
    ]
    assert (runs[0].X == runs[1].X).all()
    trials = _trials(postgresql, "same")
    assert sorted(t.values for t in trials) == sorted(runs[1].Y.tolist())


def test_the_command_keeps_its_study_on_a_server(postgresql, run_folder, nas):
    searching = ["search", run_folder, "--searcher", "optuna-tpe", "--workers", 0, "--storage", postgresql]
    done = nas(*searching, "--evaluations", 6, "--seed", 8)
    assert done.returncode == 0, done.stderr
    (study,) = [name for name in optuna.get_all_study_names(postgresql) if "seed8" in name]
    assert len(_trials(postgresql, study)) == 6
    resumed = nas(*searching, "--evaluations", 9, "--seed", 8, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert len(_trials(postgresql, study)) == 9


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://nas@127.0.0.1:9/none", "nodriver://host/name", "study.db", "sqlite:////nowhere/a.db"]
)
def test_a_storage_that_cannot_be_opened_is_one_line(url):
    with pytest.raises(UserError, match=r"^--storage \(=.*\) cannot be opened \(.+\); give a database") as refused:
        make_searcher("optuna-tpe", get_space("nasbench_macro"), storage=url)
    assert "\n" not in str(refused.value)


def test_the_dashboard_opens_a_study(tmp_path):
    from optuna_dashboard import wsgi

    space = get_space("nasbench_macro")
    url = f"sqlite:///{tmp_path}/study.db"
    searcher = make_searcher("optuna-tpe", space, storage=url, study_name="macro")
    search(space, lambda X: np.stack([X.sum(1), -X.sum(1)], 1).astype(float), searcher=searcher, evaluations=5)

    with make_server("127.0.0.1", 0, wsgi(url), handler_class=_Quiet) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        (study,) = _json(server, "/api/studies")["study_summaries"]
        detail = _json(server, f"/api/studies/{study['study_id']}")
        server.shutdown()
    assert study["study_name"] == "macro"
    assert [trial["state"] for trial in detail["trials"]] == ["Complete"] * 5
    assert len(detail["trials"][0]["params"]) == len(space.genes)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """A test prints nothing."""


def _json(server: WSGIServer, path: str) -> dict:
    with urlopen(f"http://127.0.0.1:{server.server_port}{path}", timeout=30) as answer:
        return json.load(answer)
