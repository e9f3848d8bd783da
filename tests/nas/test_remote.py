"""Measuring over SSH: against a real sshd where there is one, and against a server that loses connections."""

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import asyncssh
import pytest

from latency_tables import Device, DeviceError, profiling
from latency_tables.measuring import Effort
from latency_tables.profiling import run_study, space_study
from nas.remote import FOLDER, SshExecutor
from search_spaces import covering, get_space


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(profiling, "_EFFORT", Effort(rounds=(2, 2), seconds=1.0))
    monkeypatch.setattr(profiling, "_TRACE_ROUNDS", 1)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of our own with a user key that is allowed in."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True, mode=0o700)
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(folder / ".ssh" / "id_ed25519"))
    key.write_public_key(str(folder / ".ssh" / "authorized_keys"))
    host = asyncssh.generate_private_key("ssh-ed25519")
    host.write_private_key(str(tmp_path / "host_key"))
    for path in (folder / ".ssh" / "id_ed25519", tmp_path / "host_key"):
        path.chmod(0o600)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


def trust(home, port):
    """Makes the server's key known."""
    public = asyncssh.read_private_key(str(home.parent / "host_key")).export_public_key().decode().strip()
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """An SSH server in a thread that runs commands below a folder, and can drop its connections."""

    def __init__(self, home, workdir):
        self.commands, self.lines, self.drop_after = [], 0, None
        self._home, self._workdir, self._ready = home, workdir, threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[str(self._home.parent / "host_key")],
            authorized_client_keys=str(self._home / ".ssh" / "authorized_keys"),
            process_factory=self._run,
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(self._workdir).encode()),
        )
        self.port = server.get_port()
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _run(self, process):
        self.commands.append(process.command)
        child = await asyncio.create_subprocess_shell(
            process.command, cwd=self._workdir, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        async for line in child.stdout:
            self.lines += 1
            if self.drop_after is not None and self.lines > self.drop_after:
                self.drop_after = None
                child.kill()
                process.channel.get_connection().abort()
                return
            process.stdout.write(line.decode())
        process.stderr.write((await child.stderr.read()).decode())
        process.exit(await child.wait())


@pytest.fixture
def server(home, tmp_path):
    workdir = tmp_path / "device"
    workdir.mkdir()
    with Server(home, workdir) as running:
        trust(home, running.port)
        yield running


def study_on(device):
    space = get_space("ofa_mbv3", width=0.1, num_classes=4, resolutions=(8,), stem_stride=1, in_channels=1)
    return space, space_study(space, device, fit=4, held_out=2)


def device_at(port, **fields):
    return Device("board", where=f"ssh://{getpass.getuser()}@127.0.0.1:{port}", python=sys.executable, **fields)


def test_a_lost_connection_continues(server, tmp_path):
    space, study = study_on(device_at(server.port))
    server.drop_after = 3  # in the middle of the whole networks, the kernels being done
    seen = []
    executor = SshExecutor(pause_seconds=0.05)
    table = run_study(study, tmp_path / "t.parquet", executor=executor, progress=seen.append)
    assert set(table.kernels) == {key for arch in covering(space) for key in space.network(arch).kernels}
    assert sum(command.endswith(".zip") for command in server.commands) == 2
    (results,) = (tmp_path / "device" / FOLDER).glob("*.results.jsonl")
    assert len(results.read_text().splitlines()) == 3  # a header and two tasks, each measured once
    assert seen[-1].done == seen[-1].total


def test_what_the_device_lacks_is_said(server):
    missing = Device("board", where=device_at(server.port).where, python="/no/such/python")
    with pytest.raises(DeviceError, match="needs Python 3.8 or newer with numpy and onnxruntime"):
        SshExecutor(attempts=1).machine(missing)


def test_an_unknown_host_key_is_refused(server, home):
    (home / ".ssh" / "known_hosts").unlink()
    with pytest.raises(DeviceError, match="refused the connection.*by hand once"):
        SshExecutor(attempts=1).machine(device_at(server.port))


def test_a_device_that_is_off(home):
    with pytest.raises(DeviceError, match="cannot be reached.*Run the same command again to continue"):
        SshExecutor(attempts=2, pause_seconds=0.01).machine(device_at(free_port()))


def test_a_real_sshd(home, tmp_path, monkeypatch):
    sshd = shutil.which("sshd", path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
    if sshd is None:
        pytest.skip("needs OpenSSH's server, sshd")
    monkeypatch.setattr("nas.remote.FOLDER", str(tmp_path / "device"))
    port = free_port()
    config = tmp_path / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host_key\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {home}/.ssh/authorized_keys\nUsePAM no\nPasswordAuthentication no\n"
        "Subsystem sftp internal-sftp\n"
    )
    process = subprocess.Popen([sshd, "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE, text=True)
    try:
        while not _answers(port):
            if process.poll() is not None:
                pytest.skip(f"sshd does not start here: {process.stderr.read().strip()[-200:]}")
            time.sleep(0.05)
        trust(home, port)
        space, study = study_on(device_at(port))
        table = run_study(study, tmp_path / "t.parquet", executor=SshExecutor(attempts=2, pause_seconds=0.05))
        assert set(table.kernels) == {key for arch in covering(space) for key in space.network(arch).kernels}
        assert table.metadata["conditions"]["where"].startswith("ssh://")
    finally:
        process.terminate()
        process.wait(10)


def _answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0
