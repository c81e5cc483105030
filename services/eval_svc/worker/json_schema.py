"""Whether a model's answer is JSON that fits a schema."""

from __future__ import annotations

import json
import re

from eval_svc.domain.results import Mark
from eval_svc.worker.child import Child, TooSlow

__all__ = ["SCHEMA_PROGRAM", "mark_json_schema"]

_FENCE = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*?)\n\s*```\s*\Z", re.DOTALL | re.IGNORECASE)

# A schema's own text stays out of reasons, since cases may be sealed. An empty registry: what a schema refers to
# outside of itself is an error, never a request.
SCHEMA_PROGRAM = """
import json, sys
from jsonschema import Draft202012Validator, exceptions, validators
from referencing import Registry

def answer(question):
    if question is None:
        return ""
    schema, value = question
    kind = validators.validator_for(schema, default=Draft202012Validator)
    error = exceptions.best_match(kind(schema, registry=Registry()).iter_errors(value))
    return "" if error is None else f"{error.json_path}: {error.message}"[:300]

for line in sys.stdin:
    try:
        found = {"is": answer(json.loads(line))}
    except Exception as error:
        found = {"wrong": f"the schema cannot be used: {type(error).__name__}"}
    print(json.dumps(found), flush=True)
"""


def mark_json_schema(output: str, schema: str, child: Child) -> Mark:
    """Parse the answer, or its only fenced block, and check it against the schema: 1 or 0 with the first misfit."""
    fenced = _FENCE.match(output)
    try:
        value = json.loads(fenced[1] if fenced else output, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return Mark(0.0, f"the answer is not JSON: {error}"[:300])
    try:
        answer = child.ask([json.loads(schema), value])
    except TooSlow as slow:
        return Mark(None, f"the schema {slow}")
    if "wrong" in answer:
        return Mark(None, answer["wrong"])
    return Mark(0.0, answer["is"]) if answer["is"] else Mark(1.0)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not a JSON value")
