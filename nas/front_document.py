"""What a file `search/front-DEVICE.json` must hold before anything is made of it."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Percent = Annotated[float, Field(ge=0, le=100)]
_Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    """Values keep their types; keys of later versions are let through."""

    model_config = ConfigDict(strict=True, extra="allow")


class Measured(_Part):
    """A latency measured whole."""

    median: _Milliseconds
    p10: _Milliseconds
    p90: _Milliseconds
    upper: _Milliseconds


class Predicted(_Part):
    """A latency out of a table, with its interval."""

    median: _Milliseconds
    low: _Milliseconds
    high: _Milliseconds


class Entry(_Part):
    """A network that was measured."""

    arch: str
    macs: _Count
    params: _Count
    peak_memory_bytes: _Count
    accuracy: _Percent
    latency_ms: Measured
    latency_runs: _Count
    predicted_latency_ms: Predicted
    costs: dict[str, Any] = {}


class SpaceOf(_Part):
    """The space searched."""

    name: str
    options: dict[str, Any]


class Conditions(_Part):
    """What the table was measured under."""

    device: str
    cpu: str
    provider: str
    threads: _Count
    batch: _Count
    precision: str
    onnxruntime: str


class PredictorReport(_Part):
    """The accuracy predictor on subnets that it was not fitted on."""

    rmse: float
    kendall_tau: float
    subnets: _Count
    predicted: list[_Finite]


class TableReport(_Part):
    """The latency table on held-out networks."""

    held_out: dict[str, Any]
    kernels: _Count


class FrontDocument(_Part):
    """The whole document."""

    format: Literal[1]
    run: str
    space: SpaceOf
    device: str
    conditions: Conditions
    limit_ms: _Milliseconds | None
    searcher: str
    seed: int
    evaluations: _Count
    validation_images: Annotated[int, Field(ge=1)]
    front: list[Entry]
    over_limit: list[Entry]
    baselines: list[Entry]
    hypervolume: _Finite
    reference: list[_Finite]
    curve: list[tuple[int, _Finite]]
    evaluated: list[tuple[_Percent, _Milliseconds]]
    predictor: PredictorReport
    table: TableReport


def parse_front(text: str) -> dict[str, Any]:
    """The document in a text, as plain JSON values.

    Raises:
        ValueError: if the text is no JSON, or a key is missing or has an impossible value; names the first.
    """
    try:
        FrontDocument.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}") from None
    document: dict[str, Any] = json.loads(text)
    return document
