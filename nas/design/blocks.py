"""Distilled stages of block types, each kept in a file of its own."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import RunError
from nas.files import write_bytes
from search_spaces.hyperspace import Hyperspace
from search_spaces.spaceevo import STAGES
from search_spaces.spaceevo_blocks import BLOCKS

if TYPE_CHECKING:
    from supernets.distill import Distilled


def read_all(folder: Path, hyper: Hyperspace) -> "dict[tuple[int, int], Distilled]":
    """What was distilled so far, by stage (from 1) and block type."""
    places = [(s, k) for k in hyper.types for s in range(1, len(STAGES) + 1)]
    return {place: read for place in places if (read := _read(stage_file(folder, *place)))}


def stage_file(folder: Path, stage: int, kind: int) -> Path:
    """Where a stage (from 1) of a block type is kept."""
    return folder / f"stage{stage}-{BLOCKS[kind].name}.npz"


def write_stage(path: Path, found: "Distilled") -> None:
    """Keeps what was distilled."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **found._asdict())
    write_bytes(path, stream.getvalue())


def _read(path: Path) -> "Distilled | None":
    from supernets.distill import Distilled

    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Distilled(*(arrays[name] for name in Distilled._fields))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise RunError(f"{path} is damaged ({error}); remove it, and the stage is distilled again.") from error
