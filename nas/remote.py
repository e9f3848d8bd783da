"""Measuring over SSH: the device needs Python, numpy and onnxruntime, and an SSH server with SFTP.

The bundle of a plan is sent once; the device works through it and keeps its results on disk. When
the connection is lost, or either side restarts, the next connection continues where it stopped.
Host keys, user keys, ports and jumps are those of the user's own SSH configuration.
"""

import asyncio
import json
import shlex
import tempfile
import time
from collections.abc import Awaitable, Callable, Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from latency_tables import Device, DeviceError, Plan, device_side
from latency_tables.bundle import ImportedResults, write_bundle
from latency_tables.plan import Report

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

FOLDER = ".cache/nas-platform"  # on the device, below the user's home
_KEEPALIVE_SECONDS = 15
_TIMEOUT_SECONDS = 30


class SshExecutor:
    """Runs plans on a device whose place is ssh://user@host:port.

    Args:
        attempts: Connections in a row that may fail before it gives up; progress starts the count anew.
        pause_seconds: Between two of them, doubled every time.
    """

    def __init__(self, *, attempts: int = 8, pause_seconds: float = 2.0) -> None:
        self._attempts, self._pause = attempts, pause_seconds

    def machine(self, device: Device) -> dict[str, Any]:
        """What `device_side.fingerprint` says there.

        Raises:
            DeviceError: if the device cannot be reached, or lacks what it needs.
        """

        async def ask(connection: "SSHClientConnection") -> dict[str, Any]:
            await _send(connection, Path(device_side.__file__), "device_side.py")
            command = f"cd {FOLDER} && {shlex.quote(device.python)} device_side.py --machine {device.provider}"
            answer = await connection.run(command)
            if answer.exit_status != 0:
                last = (str(answer.stderr).strip().splitlines() or ["no message"])[-1]
                raise DeviceError(
                    f"Device {device.name!r}: {device.python} there answered {last[:200]!r}; it needs Python 3.8 or "
                    "newer with numpy and onnxruntime (the key `python` of the device's file names another one)."
                )
            return json.loads(str(answer.stdout))

        return self._persistently(device, ask, lambda: 0)

    def run(self, plan: Plan, skip: Container[str], report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields (name, record) of every task that is not in `skip`."""
        progress = [0]

        def heard(line: str) -> None:
            try:
                step = json.loads(line)
                report(step["task"], float(step["share"]))
            except (ValueError, KeyError, TypeError):
                return  # a library's chatter
            progress[0] += 1

        with tempfile.TemporaryDirectory() as folder:
            bundle = write_bundle(plan, Path(folder, "bundle.zip"))
            name = f"{plan.digest[:20]}.zip"
            results = Path(folder, "results.zip")

            async def work(connection: "SSHClientConnection") -> None:
                await _send(connection, Path(device_side.__file__), "device_side.py")
                await _send(connection, bundle, name)
                command = f"cd {FOLDER} && exec {shlex.quote(plan.device.python)} device_side.py {name}"
                async with connection.create_process(command) as process:
                    async for line in process.stdout:
                        heard(line)
                    done = await process.wait()
                if done.exit_status is None or done.exit_signal is not None:
                    raise ConnectionError("the measuring process ended with the connection")
                if done.exit_status != 0:
                    last = (str(done.stderr).strip().splitlines() or ["no message"])[-1]
                    raise DeviceError(f"Device {plan.device.name!r}: measuring failed there: {last[:200]}.")
                async with connection.start_sftp_client() as files:
                    await files.get(f"{FOLDER}/{name[: -len('.zip')]}.results.zip", results)

            self._persistently(plan.device, work, lambda: progress[0])
            yield from ImportedResults(results).run(plan, skip, report)

    def _persistently(
        self, device: Device, work: "Callable[[SSHClientConnection], Awaitable[Any]]", progress: Callable[[], int]
    ) -> Any:
        """Does some work over a connection, and over new ones as long as connections get lost."""
        import asyncssh

        address = urlsplit(device.where)

        async def once() -> Any:
            async with asyncssh.connect(
                address.hostname or "",
                **({"port": address.port} if address.port else {}),
                **({"username": address.username} if address.username else {}),
                keepalive_interval=_KEEPALIVE_SECONDS,
                connect_timeout=_TIMEOUT_SECONDS,
            ) as connection:
                return await work(connection)

        failures, before, pause = 0, progress(), self._pause
        while True:
            try:
                return asyncio.run(once())
            except (asyncssh.PermissionDenied, asyncssh.HostKeyNotVerifiable) as error:
                raise DeviceError(
                    f"Device {device.name!r} at {device.where} refused the connection ({error.reason}); "
                    "`ssh` to it by hand once, and check its key and yours."
                ) from error
            except (OSError, asyncssh.Error, ConnectionError) as error:
                if progress() > before:
                    failures, before, pause = 0, progress(), self._pause
                failures += 1
                if failures >= self._attempts:
                    raise DeviceError(
                        f"Device {device.name!r} at {device.where} cannot be reached ({error}); what it measured is "
                        "kept there. Run the same command again to continue."
                    ) from error
                time.sleep(pause)
                pause = min(2 * pause, 60.0)


async def _send(connection: "SSHClientConnection", file: Path, name: str) -> None:
    """Puts a file into the folder on the device unless one of its size is there."""
    size = file.stat().st_size
    async with connection.start_sftp_client() as files:
        await files.makedirs(FOLDER, exist_ok=True)
        target = f"{FOLDER}/{name}"
        if name.endswith(".zip") and await files.exists(target) and await files.getsize(target) == size:
            return
        await files.put(file, f"{target}.part")
        await files.posix_rename(f"{target}.part", target)
