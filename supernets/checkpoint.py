"""Checkpoints of a training, by orbax: weights, optimiser state, step."""

import logging
from pathlib import Path
from typing import Any

import jax
import numpy as np

from search_spaces import Space
from supernets.checksums import first_damaged, write_checksums
from supernets.errors import CheckpointError
from supernets.params import Params

FORMAT = 1
KEPT = 2


class Checkpoints:
    """The checkpoints in a folder; the newest `KEPT` stay.

    Args:
        folder: Where they are.
        space: Kept with them, and compared when they are read.
    """

    def __init__(self, folder: Path, space: Space) -> None:
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.ERROR)
        self._ocp, self._folder, self._space = ocp, Path(folder).resolve(), space
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=False)
        # named, so that the shapes of what was saved are known before it is read: without them orbax puts arrays
        # where they were, which another machine need not have
        handlers = {"state": ocp.StandardCheckpointHandler(), "about": ocp.JsonCheckpointHandler()}
        self._manager = ocp.CheckpointManager(self._folder, options=options, item_handlers=handlers)

    @property
    def latest(self) -> int | None:
        """Step of the newest checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, metadata: dict[str, Any]) -> None:
        """Writes a checkpoint; it appears whole or not at all, and one of the same step stays as it is."""
        if step in self._manager.all_steps():  # e.g. Ctrl-C while the checkpoint that was due is written
            return
        ocp = self._ocp
        about = {"format": FORMAT, "space": {"name": self._space.name, "options": self._space.options}, **metadata}
        self._manager.save(
            step,
            args=ocp.args.Composite(state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about)),
            force=True,
        )
        if jax.process_index():
            return
        write_checksums(self._folder / str(step), self._checksums(step))
        for old in self._folder.glob("sha256-*.json"):
            if not (self._folder / old.stem.removeprefix("sha256-")).is_dir():
                old.unlink()

    def restore(self, like: Any = None) -> tuple[Any, dict[str, Any]]:
        """The newest checkpoint's state, and its metadata; placed `like`, or all on one device.

        Raises:
            CheckpointError: if there is none, it is damaged, or it is of another space.
        """
        step = self.latest
        if step is None:
            raise CheckpointError(f"{str(self._folder)!r} holds no checkpoint; train first with `nas train`.")
        ocp = self._ocp
        remedy = f"delete {str(self._folder / str(step))!r} to fall back to an older one, or train again"
        if damaged := first_damaged(self._folder / str(step), self._checksums(step)):
            raise CheckpointError(f"Checkpoint {step} is damaged ({damaged} is not what was written); {remedy}.")
        try:
            about = self._manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]
        except Exception as error:  # noqa: BLE001 - orbax raises many kinds for damaged files
            raise CheckpointError(f"Checkpoint {step} is damaged ({_first_line(error)}); {remedy}.") from error
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            found = about.get("format") if isinstance(about, dict) else about
            raise CheckpointError(f"Checkpoint {step} has format {found!r}, not {FORMAT}; {remedy}.")
        wanted = {"name": self._space.name, "options": self._space.options}
        if about.get("space") != wanted:
            raise CheckpointError(f"Checkpoint {step} is of space {about.get('space')}, not {wanted}; {remedy}.")
        try:
            abstract = self._saved_shapes(step) if like is None else jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
            args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
            state = self._manager.restore(step, args=args)["state"]
        except Exception as error:  # noqa: BLE001
            raise CheckpointError(f"Checkpoint {step} is damaged ({_first_line(error)}); {remedy}.") from error
        if not all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(state) if _is_float(leaf)):
            raise CheckpointError(f"Checkpoint {step} holds numbers that are not finite; {remedy}.")
        return state, about

    def _checksums(self, step: int) -> Path:
        return self._folder / f"sha256-{step}.json"

    def _saved_shapes(self, step: int) -> Any:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        tree = self._manager.item_metadata(step)["state"]
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def load_params(folder: Path, space: Space) -> Params:
    """The supernet's weights in the newest checkpoint of a folder; their average where one was kept.

    Raises:
        CheckpointError: if there is none, it is damaged, or it is of another space.
    """
    if not Path(folder).is_dir():
        raise CheckpointError(f"{str(folder)!r} holds no checkpoint; train first with `nas train`.")
    state = Checkpoints(folder, space).restore()[0]
    return state.get("average") or state["params"]


def _is_float(leaf: Any) -> bool:
    return np.issubdtype(getattr(leaf, "dtype", np.int32), np.floating)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160] if str(error).strip() else ''}"
