"""A finished design that another one begins from.

How well a stage imitates the teacher depends on no device, no limit, and neither on stem nor head; what block types are
worth against each other is taken for independent of them too. So a design for the next device needs only its latency
table.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.design.blocks import stage_file
from nas.design.scoring import finished, hyper_of
from nas.errors import RunError, UserError
from nas.files import write_bytes
from search_spaces.hyperspace import Hyperspace
from search_spaces.spaceevo import STAGES
from search_spaces.spaceevo_blocks import BLOCKS

if TYPE_CHECKING:
    from supernets.distill import DistillConfig

OUTER = ("activation", "features")  # options of stem and head


@dataclass(frozen=True)
class Earlier:
    """What is taken from a finished design.

    Attributes:
        folder: Of the design.
        teacher: That its stages were distilled from.
        hyper: Its hyperspace, perhaps with another stem and head.
        distillation: How its stages were distilled.
        anchors: What its document says about them; None where it has none.
    """

    folder: Path
    teacher: Path
    hyper: Hyperspace
    distillation: "DistillConfig"
    anchors: dict[str, Any] | None

    def copy_stages(self, folder: Path) -> None:
        """Copies the distilled stages that are not there yet.

        Raises:
            RunError: if one is missing, or another design's is there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for kind in self.hyper.types:
            for stage in range(1, len(STAGES) + 1):
                source, target = (stage_file(place, stage, kind) for place in (self.folder / "blocks", folder))
                if not source.is_file():
                    raise RunError(f"{str(source)!r} is missing: the design to begin from must be complete.")
                if not target.is_file():
                    write_bytes(target, source.read_bytes())
                elif target.read_bytes() != source.read_bytes():
                    raise RunError(f"{str(target)!r} is of another design than {str(source)!r}; use another --out.")


def earlier_design(
    folder: Path, options: dict[str, Any], types: tuple[int, ...] | None = None, *, int8: bool
) -> Earlier:
    """Opens a finished design to begin from.

    Args:
        folder: Of `nas design-space`.
        options: Of the hyperspace, that are to be other ones: those of `OUTER`.
        types: The block types to allow, positions in `BLOCKS`, by default the design's.
        int8: Whether networks are to be INT8.

    Returns:
        What is taken from it.

    Raises:
        RunError: if the design is not finished.
        UserError: if it does not serve.
    """
    from supernets.distill import DistillConfig

    document = finished(folder)
    if others := sorted(options.keys() - set(OUTER)):
        raise UserError(f"-o {others[0]}: is as in --from {folder}; only {' and '.join(OUTER)} can be other ones.")
    distillation = DistillConfig(**document["distillation"])
    if int8 != (distillation.int8_steps > 0):
        rounding = "with" if distillation.int8_steps else "without"
        raise UserError(f"--precision must fit --from {folder}, whose stages were distilled {rounding} rounding.")
    hyper = replace(hyper_of(document), **options)
    if lacking := [BLOCKS[kind].name for kind in types or () if kind not in hyper.types]:
        raise UserError(f"--types: {lacking[0]!r} was not distilled in --from {folder}; leave it out.")
    hyper = replace(hyper, types=types or hyper.types)
    return Earlier(folder, Path(document["teacher"]), hyper, distillation, document.get("anchors"))
