"""`nas report --serve`: a page on this machine that follows a running search, and the report when there is one."""

import json
import signal
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from nas.front import volume_curve
from nas.pareto import pareto_front
from nas.runs import Run
from nas.search.log import read_rows

HOST = "127.0.0.1"  # a run's names and architectures are nobody else's business


def live_data(folder: Path) -> dict[str, Any]:
    """What the logs of a run's searches hold right now, the log written last first.

    A line that is only half written is left out. Latencies are the table's predictions.

    Raises:
        RunError: if the folder holds no run.
    """
    run = Run.open(folder)
    logs = sorted((run.folder / "search").glob("*.jsonl"), key=lambda path: -path.stat().st_mtime)
    searches = [found for found in map(_search, logs) if found["evaluated"]]
    return {"run": run.name, "reports": run.searched_devices, "searches": searches}


def _search(log: Path) -> dict[str, Any]:
    rows = [row for row in read_rows(log) if {"error", "latency_ms"} <= row.keys()]
    Y = np.array([(row["error"], row["latency_ms"]) for row in rows], dtype=np.float64).reshape(-1, 2)
    return {
        "name": log.stem,
        "evaluated": Y.tolist(),
        "archs": [row["arch"] for row in rows],
        "front": pareto_front(Y).tolist(),
        "curve": volume_curve(Y, Y.max(axis=0)) if len(Y) else [],
    }


def serve(folder: Path, port: int, started: Callable[[str], None]) -> None:
    """Serves until interrupted, which it raises then.

    Ctrl-C only says so here: raised wherever it meets the server, an exception can be lost, and the server would stay.

    Args:
        folder: The run.
        port: Of this machine's own address; 0 for any free one.
        started: Told the address.

    Raises:
        RunError: if the folder holds no run.
        OSError: if the port is taken.
        KeyboardInterrupt: at Ctrl-C.
    """
    Run.open(folder)
    with ThreadingHTTPServer((HOST, port), _handler(folder)) as server:
        # shutdown waits for the loop that this thread is in
        before = signal.signal(signal.SIGINT, lambda *_: Thread(target=server.shutdown, daemon=True).start())
        try:
            started(f"http://{HOST}:{server.server_address[1]}/")
            server.serve_forever()
        finally:
            signal.signal(signal.SIGINT, before)
    raise KeyboardInterrupt


def _handler(folder: Path) -> type[BaseHTTPRequestHandler]:
    def report() -> tuple[str, bytes]:
        from nas.report.data import report_data
        from nas.report.page import page

        return "text/html; charset=utf-8", page(report_data(folder)).encode()

    routes: dict[str, Callable[[], tuple[str, bytes]]] = {
        "/": lambda: ("text/html; charset=utf-8", _asset("live.html")),
        "/page.css": lambda: ("text/css; charset=utf-8", _asset("page.css")),
        "/chart.js": lambda: ("text/javascript; charset=utf-8", _asset("chart.js")),
        "/live.js": lambda: ("text/javascript; charset=utf-8", _asset("live.js")),
        "/data.json": lambda: ("application/json", json.dumps(live_data(folder)).encode()),
        "/report": report,
    }

    class Handler(BaseHTTPRequestHandler):
        """Answers the routes above and nothing else."""

        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            # a page elsewhere must not read this one through a name that it made point here
            if route is None or self.headers.get("Host", "").partition(":")[0] not in (HOST, "localhost"):
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            try:
                kind, body = route()
            except (ValueError, OSError, RuntimeError) as error:  # the run changes while we look
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, explain=str(error))
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """A request every two seconds is not worth a line."""

    return Handler


def _asset(name: str) -> bytes:
    return files("nas.report").joinpath(name).read_bytes()
