"""What every trace must be, whatever an upstream has sent."""

import json
import pathlib

import jsonschema
from rllm_model_gateway.models import TraceRecord

SCHEMA = pathlib.Path(__file__).parents[2] / "docs" / "trace-schema.json"
SCHEMA = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


class Record(TraceRecord):
    """The PyPI client's record, with the fields that the reference has added since."""

    run_id: str | None
    harness: str | None
    step_id: int | None
    parent_span_id: str | None
    span_type: str
    routing_matrices: list[str] | None
    weight_version: int | None


def loads(text):
    """JSON as the standard has it: Python's own reader would take `NaN` too."""

    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def check(trace):
    """The trace fits the reference's types, strictly, and our own schema."""
    TraceRecord(**trace)
    Record.model_validate(trace, strict=True)
    for name in ("latency_ms", "timestamp"):
        assert type(trace[name]) is float, (name, trace[name])
    assert all(type(logprob) is float for logprob in trace["logprobs"] or [])
    SCHEMA.validate(trace)
