"""A search on a Ray cluster by its address: the token of `ray start`, and clear words without it."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray")
SEARCH = ["--evaluations", 6, "--batch", 2, "--measured", 3, "--workers", 2, "--seed", 7, "--json"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def reachable(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def cluster(tmp_path):
    """A head node of `ray start` that asks for a token: its address and the token."""
    token, port = secrets.token_hex(32), free_port()
    ray = Path(sys.executable).with_name("ray")
    options = [f"--port={port}", "--num-cpus=2", "--object-store-memory=100000000", "--include-dashboard=false"]
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    command = [str(ray), "start", "--head", "--block", "--node-ip-address=127.0.0.1", *options]
    node = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
        stdout=(tmp_path / "ray.log").open("w"),
        stderr=subprocess.STDOUT,
    )
    try:
        end = time.monotonic() + 180
        while not reachable(port):
            assert node.poll() is None and time.monotonic() < end, (tmp_path / "ray.log").read_text()
            time.sleep(0.3)
        yield f"127.0.0.1:{port}", token
    finally:
        node.send_signal(signal.SIGTERM)  # takes its processes with it
        try:
            node.wait(60)
        finally:
            os.killpg(node.pid, signal.SIGKILL) if node.poll() is None else None


def test_search_on_a_cluster_with_a_token(run_folder, cluster, nas, monkeypatch):
    address, token = cluster
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    there = nas("search", run_folder, *SEARCH, "--ray-address", address)
    assert there.returncode == 0, there.stderr
    here = nas("search", run_folder, *SEARCH[:-1], "--workers", 0, "--fresh", "--json")
    assert here.returncode == 0, here.stderr
    found, expected = (json.loads(done.stdout)["evaluated"] for done in (there, here))
    assert found == expected
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    refused = nas("search", run_folder, *SEARCH, "--fresh", "--ray-address", address)
    assert refused.returncode == 2 and "--ray-address" in refused.stderr, refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
