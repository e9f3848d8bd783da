"""Where latency tables lie, and which one serves a space on a device."""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import UserError
from nas.spaces import option_texts
from search_spaces import Network, Space

if TYPE_CHECKING:
    from latency_tables import Device, LatencyTable, Prediction


def tables_folder() -> Path:
    """Folder of tables that belong to no run: `$NAS_TABLES`, by default ./tables."""
    return Path(os.environ.get("NAS_TABLES", "tables"))


def table_path(space: Space, device: str, run: Path | None = None) -> Path:
    """File that `nas profile` writes: in the run if there is one, named after space and options otherwise."""
    if run is not None and (run / "config.json").is_file():
        return run / "tables" / f"{device}.parquet"
    own = option_texts(space)
    digest = "-" + hashlib.sha256(json.dumps(own).encode()).hexdigest()[:8] if own else ""
    return tables_folder() / f"{space.name}{digest}-{device}.parquet"


def find_table(
    space: Space, device: "str | Device", path: Path | None = None, run: Path | None = None
) -> "LatencyTable":
    """The latency table of a space on a device, checked against the device as it is here and now.

    Looks at `path` if given, else in the run, else in the folder of tables.

    Raises:
        UserError: if there is none; names the command that measures it.
        TableError: if it was measured under other conditions.
    """
    from latency_tables import LatencyTable, get_device

    chosen = get_device(device) if isinstance(device, str) else device
    candidates = [path] if path else [table_path(space, chosen.name, run), table_path(space, chosen.name)]
    found = next((p for p in candidates if p.is_file()), None)
    if found is None:
        if path:
            raise UserError(
                f"Latency table {str(path)!r} does not exist; "
                f"measure it with {profile_command(space, chosen.name, run)}."
            )
        raise UserError(
            f"No latency table of {space.name} with these options on {chosen.name!r} in {str(candidates[0])!r}; "
            f"measure it with {profile_command(space, chosen.name, run)}."
        )
    table = LatencyTable.read(found)
    table.check_device(chosen)
    return table


def predict_latency(
    space: Space, network: Network, device: str, path: Path | None = None, run: Path | None = None
) -> "Prediction":
    """Predicted latency by the space's table, or where there is none by the device's models of kernels.

    Raises:
        UserError: if there is neither; names the commands that measure them.
        TableError: if what there is was measured under other conditions.
    """
    from latency_tables import get_device

    target = get_device(device)
    models = tables_folder() / f"kernels-{target.name}.npz"
    try:
        return find_table(space, target, path, run).predict(network)
    except UserError:
        if path or not models.is_file():
            raise
    from predictors import KernelPredictor

    predictor = KernelPredictor.read(models)
    predictor.check_device(target)
    return predictor.predict_network(network)


def profile_command(space: Space, device: str, run: Path | None = None) -> str:
    """The command that measures a space on a device."""
    is_run = run is not None and (run / "config.json").is_file()
    what = str(run) if is_run else " ".join([space.reference, *option_texts(space)])
    return f"`nas profile {what} --device {device}`"
