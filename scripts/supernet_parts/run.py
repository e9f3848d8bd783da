"""The parts by name."""

import argparse
import tempfile
from typing import Any

from supernet_parts.devices import devices
from supernet_parts.kernels import kernels
from supernet_parts.memory import memory
from supernet_parts.quality import quality
from supernet_parts.rank import rank
from supernet_parts.search import search
from supernet_parts.stages import OutOfTime, Stages

PARTS = {
    "quality": quality,
    "rank": rank,
    "search": search,
    "devices": devices,
    "memory": memory,
    "kernels": kernels,
}


def run_part(options: argparse.Namespace) -> dict[str, Any]:
    """Runs a part, or as much of it as there is time for."""
    options.out = options.out or tempfile.mkdtemp()
    stages = Stages(options, options.part)
    try:
        return PARTS[options.part](options, stages)
    except OutOfTime as stopped:
        return {"finished": False, "at": str(stopped), "results": stages.results, "out": str(stages.out)}
    finally:
        stages.packed()
