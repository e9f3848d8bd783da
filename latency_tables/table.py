"""`LatencyTable`: a Parquet file with the latency of every kernel of a space on one device."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_tables.devices import Device, device_fingerprint
from latency_tables.errors import MissingKernelError, TableError
from latency_tables.measuring import Anchors
from search_spaces import Network, Operator
from search_spaces.whole_file import whole_file

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 2
_METADATA = b"latency_table"
_NUMBERS = ("median_ms", "p10_ms", "p90_ms", "runs", "cost_ms")
# What every reader of a table relies on.
_REQUIRED = (
    ("conditions", "device"),
    ("space", "name"),
    ("correction", "constant_ms"),
    ("held_out", "low"),
    ("held_out", "high"),
)
# Conditions that may differ between a table and the device it is used for: what the user calls it.
_LABELS = ("device",)


@dataclass(frozen=True, slots=True)
class KernelLatency:
    """A row of a table.

    Attributes:
        precision: As of the device: "fp32", "int8", ...
        median_ms: Mean of the middle half of the calls, as the runtime's profiler saw them.
        p10_ms: 10 % of the calls were faster.
        p90_ms: 90 % of the calls were faster.
        runs: Recorded calls.
        cost_ms: What the kernel adds to a whole network, fitted; predictions are sums of this.
    """

    precision: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    runs: int
    cost_ms: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted milliseconds per call: the median, and the interval that covers 90 % of held-out networks."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class LatencyTable:
    """Kernel latencies and the conditions they were measured under.

    Attributes:
        kernels: From an operator's key to its latency.
        metadata: "conditions" (see `device_fingerprint`), "space" (name and options),
            "correction" (constant_ms, scale, widths), "held_out" (see `held_out_errors`), "seed",
            "anchors" (see `Anchors`).
    """

    kernels: Mapping[str, KernelLatency]
    metadata: Mapping[str, Any]

    # -- files ---------------------------------------------------------------------------------

    @classmethod
    def read(cls, path: str | Path) -> "LatencyTable":
        """Reads a table.

        Raises:
            TableError: if the file is missing, no latency table, or of another format version.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            data = pq.read_table(path)
            names = data.column_names
        except FileNotFoundError as error:
            raise TableError(f"Latency table {str(path)!r} does not exist. {_REMEASURE}") from error
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            reason = str(error).partition("\n")[0]
            raise TableError(f"{str(path)!r} is not a readable Parquet file ({reason}). {_REMEASURE}") from error
        header = (data.schema.metadata or {}).get(_METADATA)
        if header is None:
            raise TableError(f"{str(path)!r} is a Parquet file but not a latency table. {_REMEASURE}")
        try:
            metadata = json.loads(header)
            version = metadata.pop("format_version")
            if version == FORMAT_VERSION and any(key not in metadata[name] for name, key in _REQUIRED):
                raise KeyError(_REQUIRED)
            if version == FORMAT_VERSION and not isinstance(metadata["anchors"], list):
                raise TypeError("anchors")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TableError(f"{str(path)!r} has damaged metadata. {_REMEASURE}") from error
        if version != FORMAT_VERSION:
            raise TableError(
                f"{str(path)!r} has table format {version}, this version reads format {FORMAT_VERSION}. {_REMEASURE}"
            )
        for field in _schema():
            if field.name not in names or data.schema.field(field.name).type != field.type:
                raise TableError(f"{str(path)!r} has no column {field.name!r} of type {field.type}. {_REMEASURE}")
        try:
            kernels = {row.pop("key"): KernelLatency(**row) for row in data.select(_schema().names).to_pylist()}
        except ValueError as error:  # text that is not UTF-8 shows only here
            raise TableError(f"{str(path)!r} has damaged rows ({error}). {_REMEASURE}") from error
        for key, row in kernels.items():
            if not all((getattr(row, name) or 0) > 0 for name in _NUMBERS):
                raise TableError(f"{str(path)!r}: the row of kernel {key!r} has no time above 0. {_REMEASURE}")
        return cls(kernels, metadata)

    def write(self, path: str | Path) -> None:
        """Writes the table; the file appears whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [{"key": key, **asdict(row)} for key, row in self.kernels.items()]
        header = json.dumps({"format_version": FORMAT_VERSION, **self.metadata})
        with whole_file(Path(path)) as beside:
            pq.write_table(pa.Table.from_pylist(rows, _schema().with_metadata({_METADATA: header})), beside)

    # -- predictions ---------------------------------------------------------------------------

    def costs(self, op: Operator) -> list[float]:
        """What an operator adds to a network's latency, ms, as `search_spaces.AdditiveCost` wants it."""
        self.require([op.key])
        return [self.kernels[op.key].cost_ms]

    @property
    def anchors(self) -> Anchors:
        """Reference networks and their latencies when the table was measured; for `measure`.

        Raises:
            TableError: if they are damaged.
        """
        return Anchors.parse(self.metadata["anchors"])

    @property
    def constant_ms(self) -> float:
        """What every call costs besides its kernels."""
        return float(self.metadata["correction"]["constant_ms"])

    def predict(self, network: Network) -> Prediction:
        """Latency of a network, ms per call.

        Raises:
            MissingKernelError: if the table has not measured one of its kernels.
        """
        self.require(network.kernels)
        return self.interval(self.constant_ms + sum(self.kernels[key].cost_ms for key in network.kernels))

    def interval(self, median_ms: float) -> Prediction:
        """A predicted median with its interval."""
        held_out = self.metadata["held_out"]
        return Prediction(median_ms, median_ms * min(held_out["low"], 1.0), median_ms * max(held_out["high"], 1.0))

    def require(self, keys: Iterable[str]) -> None:
        """Raises MissingKernelError if the table lacks any of these kernels."""
        if missing := [key for key in dict.fromkeys(keys) if key not in self.kernels]:
            space, device = self.metadata["space"]["name"], self.metadata["conditions"]["device"]
            raise MissingKernelError(
                f"{len(missing)} kernels are not in the latency table of {device!r}, first: {missing[0]!r}. "
                f"Run `nas profile {space} --device {device}` with the options of your space."
            )

    def check_device(self, device: Device) -> None:
        """Raises TableError unless the table was measured under the conditions of `device`, here and now."""
        check_conditions(self.metadata["conditions"], device, self.metadata["space"]["name"])


def check_conditions(measured: Mapping[str, Any], device: Device, space: str) -> None:
    """Raises TableError unless these conditions are those of `device`, here and now."""
    for name, value in device_fingerprint(device).items():
        if name not in _LABELS and measured.get(name) != value:
            raise TableError(
                f"The latency table was measured with {name} = {measured.get(name)!r} (device "
                f"{measured.get('device')!r}), here it is {value!r}. "
                f"Run `nas profile {space} --device {device.name}`."
            )


def _schema() -> "pa.Schema":
    """Columns of the file."""
    import pyarrow as pa

    numbers = [(name, pa.int64() if name == "runs" else pa.float64()) for name in _NUMBERS]
    return pa.schema([("key", pa.string()), ("precision", pa.string()), *numbers])


_REMEASURE = "Measure again with `nas profile SPACE --device NAME`."
