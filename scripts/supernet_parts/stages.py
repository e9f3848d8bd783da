"""Stages of a part: their results are kept, and with `--seconds` the part stops in time.

The same command goes on where it stopped. What it needs for that is also packed into a few small files below `--pack`,
so that another machine can go on.
"""

import argparse
import io
import json
import shutil
import signal
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces import Space
from search_spaces.whole_file import whole_file

_PIECE = 15 << 20  # bytes


class OutOfTime(Exception):
    """The part goes on when it is run again."""


class Stages:
    """Results by name in a folder, and the state of the one under way.

    Args:
        options: Of the command: `out`, `seconds`, `pack`.
        part: What is run; another part, or other numbers, has its own folder.
    """

    def __init__(self, options: argparse.Namespace, part: str) -> None:
        self.started, self.seconds = time.monotonic(), options.seconds
        self.pack = Path(options.pack) if options.pack else None
        self.out = Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        new = not any(self.out.iterdir())
        if self.pack and new and (pieces := sorted(self.pack.glob(f"{part}.*"))):
            with tarfile.open(fileobj=io.BytesIO(b"".join(p.read_bytes() for p in pieces))) as archive:
                archive.extractall(self.out, filter="data")
        self._results, self._part = self.out / "results", part
        self._results.mkdir(exist_ok=True)

    @property
    def results(self) -> dict[str, Any]:
        """What is known, by stage; a file each, so that several processes may share the folder."""
        return {path.stem: json.loads(path.read_text()) for path in sorted(self._results.glob("*.json"))}

    def __call__(self, name: str, run: Callable[[], Any]) -> Any:
        """The result of a stage, run unless it is known already."""
        path = self._results / f"{name}.json"
        if not path.exists():
            if self.over:
                raise OutOfTime(name)
            text = json.dumps(run(), default=float)
            with whole_file(path) as beside:
                beside.write_text(text)
            print(f"{time.monotonic() - self.started:6.0f} s  {name}: {text[:300]}", flush=True)
        return json.loads(path.read_text())

    @property
    def over(self) -> bool:
        """Whether it is time to stop."""
        return self.seconds is not None and time.monotonic() - self.started > self.seconds

    def train(self, space: Space, data: Any, config: Any, name: str, **more: Any) -> tuple[dict[str, Any], float]:
        """Trains, or goes on; weights, and the seconds that all parts of it took.

        Raises:
            OutOfTime: when it was stopped in time, with a checkpoint to go on from.
        """
        from supernets import train

        tell = more.pop("on_step", lambda report: None)
        about = {"mean": data.mean, "std": data.std, "config": config, "folder": self.out / name, **more}
        images, labels = data.train_images, data.train_labels
        return self.watched(name, lambda watch: train(space, images, labels, on_step=watch, **about), tell)

    def watched(
        self, name: str, run: Callable[[Callable[[Any], None]], Any], tell: Callable[[Any], None] = lambda report: None
    ) -> tuple[Any, float]:
        """What a training returns that is given a function to call at every step, and the seconds of all its parts.

        Raises:
            OutOfTime: when it was stopped in time, with a checkpoint to go on from.
        """
        clock = self.out / f"{name}.seconds"
        before = float(clock.read_text()) if clock.exists() else 0.0
        began, asked = time.monotonic(), False

        def watch(report: Any) -> None:
            nonlocal asked
            tell(report)
            if self.over and not asked:  # steps under way report before the training saves: twice would stop it there
                asked = True
                signal.raise_signal(signal.SIGINT)
            if report.note:
                print(report.note, flush=True)

        try:
            result = run(watch)
        except KeyboardInterrupt:
            if asked:
                raise OutOfTime(name) from None
            raise
        finally:
            seconds = before + time.monotonic() - began
            clock.write_text(str(seconds))
        return result, seconds

    def kept(self, name: str, make: Callable[[], tuple[dict[str, Any], float]]) -> tuple[dict[str, Any], float]:
        """Weights that later stages start from, as a file of their own; the checkpoints go."""
        import jax.numpy as jnp

        path = self.out / f"{name}.npz"
        if not path.exists():
            params, _ = make()
            arrays: dict[str, Any] = {key: np.asarray(value) for key, value in params.items()}
            np.savez(path, **arrays)
            self.forget(name)
        with np.load(path) as file:
            return {key: jnp.asarray(file[key]) for key in file.files}, float(
                (self.out / f"{name}.seconds").read_text()
            )

    def forget(self, name: str) -> None:
        """Takes the checkpoints of a stage away."""
        shutil.rmtree(self.out / name, ignore_errors=True)

    def packed(self) -> None:
        """Writes what another machine needs to go on, in pieces of 15 MiB."""
        if self.pack is None:
            return
        self.pack.mkdir(parents=True, exist_ok=True)
        for old in self.pack.glob(f"{self._part}.*"):
            old.unlink()
        for folder in self.out.iterdir():  # only the newest checkpoint of each
            for step in sorted((p for p in folder.glob("[0-9]*") if p.is_dir()), key=lambda p: int(p.name))[:-1]:
                shutil.rmtree(step)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(self.out, arcname=".")
        whole = buffer.getvalue()
        for i in range(0, len(whole), _PIECE):
            (self.pack / f"{self._part}.{i // _PIECE:02}").write_bytes(whole[i : i + _PIECE])
