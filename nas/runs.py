"""A run folder: `config.json`, `supernet/`, `tables/`, `search/`, `export/`, `report.html`."""

import json
import subprocess
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nas.errors import RunError
from nas.files import writable_folder, write_json
from nas.own_spaces import keep_source, own_record, recorded_space
from search_spaces import Space, SpaceError

FORMAT = 1
_PACKAGES = ("nas-platform", "jax", "flax", "optax", "optuna", "onnx", "onnxruntime", "ray", "numpy")


@dataclass(frozen=True)
class Run:
    """One supernet and all that was done with it.

    Attributes:
        folder: Where it is.
        config: Everything needed to repeat it.
    """

    folder: Path
    config: dict[str, Any]

    @classmethod
    def create(cls, folder: Path, space: Space, **config: Any) -> "Run":
        """A new run folder, or the one that is there if it was made with the same configuration.

        Raises:
            RunError: if another configuration is there; it is left as it is.
        """
        writable_folder(folder)
        wanted = {
            "format": FORMAT,
            "space": {"name": space.name, "options": space.options, **own_record(space)},
            **config,
        }
        if (folder / "config.json").exists():
            found = cls.open(folder)
            wanted = json.loads(json.dumps(wanted))
            for key, value in wanted.items():
                if found.config.get(key) != value:
                    raise RunError(
                        f"Run {str(folder)!r} has {_difference(key, found.config.get(key), value)}; "
                        "use the same options to continue it, or another --out."
                    )
            return found
        keep_source(folder, space)
        wanted["versions"] = _versions()
        wanted["git_commit"] = _git_commit()
        write_json(folder / "config.json", wanted)
        return cls(folder, wanted)

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """The run in a folder.

        Raises:
            RunError: if there is none, or its configuration is damaged.
        """
        path = Path(folder) / "config.json"
        if not path.is_file():
            raise RunError(
                f"{str(folder)!r} is no run folder (no config.json); make one with `nas train --out {folder}`."
            )
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            for key in ("space", "data", "train"):
                if not isinstance(config.get(key, {}), dict):
                    raise TypeError(f"{key!r} is {config[key]!r}, not a table of options")
            recorded_space(Path(folder), config["space"])
        except RunError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SpaceError) as error:
            raise RunError(f"{path} is damaged ({error}); restore it, or train again into another folder.") from error
        if config.get("format") != FORMAT:
            raise RunError(f"{path} has format {config.get('format')!r}, this version reads {FORMAT}; train again.")
        return cls(Path(folder), config)

    @cached_property
    def space(self) -> Space:
        """Its search space."""
        return recorded_space(self.folder, self.config["space"])

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def supernet(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "supernet"

    def table(self, device: str) -> Path:
        """File of a device's latency table."""
        return self.folder / "tables" / f"{device}.parquet"

    def front(self, device: str) -> Path:
        """File with what a search found on a device."""
        return self.folder / "search" / f"front-{device}.json"

    def read_front(self, device: str) -> dict[str, Any]:
        """What a search found on a device.

        Raises:
            RunError: if nothing was searched there.
        """
        path = self.front(device)
        if not path.is_file():
            raise RunError(
                f"Run {str(self.folder)!r} has no front for device {device!r}; "
                f"run `nas search {self.folder} --device {device}`."
            )
        from nas.front_document import parse_front

        try:
            document = parse_front(path.read_text(encoding="utf-8"))
            for entry in (*document["front"], *document["over_limit"], *document["baselines"]):
                self.space.parse(entry["arch"])
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path} is damaged ({error}); run `nas search` again.") from error
        return document

    @property
    def searched_devices(self) -> list[str]:
        """Devices with a front, the latest first."""
        fronts = sorted((self.folder / "search").glob("front-*.json"), key=lambda p: -p.stat().st_mtime)
        return [path.stem.removeprefix("front-") for path in fronts]


def _difference(key: str, found: Any, wanted: Any) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        inner = next(k for k in sorted({*found, *wanted}) if found.get(k) != wanted.get(k))
        return _difference(f"{key}.{inner}", found.get(inner), wanted.get(inner))
    return f"{key}={found!r}, now asked for {wanted!r}"


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def _git_commit() -> str | None:
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
