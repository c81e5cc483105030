"""Scores that another tool recorded, as results of the cases of a suite.

JSON Lines {"id", "score", "output"?, "unscored"?}; a score is from 0 to 1, or missing with the reason in `unscored`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bessemer.kernel.errors import InvalidRequest

from eval_svc.config import PREVIEW_CHARACTERS, RECORDED_OUTPUT_CHARACTERS
from eval_svc.domain.cases import Case
from eval_svc.domain.results import CaseResult

__all__ = ["parse_recorded"]


def parse_recorded(data: bytes, cases: Sequence[Case]) -> list[CaseResult]:
    """Return a result for every case; one that the file does not name is unscored.

    Raises: InvalidRequest naming the line, and never what stands in it.
    """
    known = {case.id: case for case in cases}
    found: dict[str, CaseResult] = {}
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        record = _record(line, number)
        identifier = record.get("id")
        if not isinstance(identifier, str) or identifier not in known:
            raise _invalid(number, "id is not one of the suite's cases; import against the suite made from this file")
        if identifier in found:
            raise _invalid(number, "the same id stands in an earlier line; give one result per case")
        found[identifier] = _result(record, known[identifier], number)
    missing = {"score": None, "unscored": "the file has no result for it"}
    return [found.get(case.id) or _result(missing, case, 0) for case in cases]


def _record(line: bytes, number: int) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _invalid(number, f"a result is one JSON object in UTF-8; {type(error).__name__}") from None
    if not isinstance(record, dict):
        raise _invalid(number, f"a result is a JSON object; got {type(record).__name__}")
    return record


def _result(record: Mapping[str, Any], case: Case, number: int) -> CaseResult:
    score, output = record.get("score"), record.get("output", "")
    if score is not None and (
        isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score) or not 0 <= score <= 1
    ):
        raise _invalid(number, "score must be a number from 0 to 1, or missing")
    if not isinstance(output, str):
        raise _invalid(number, f"output must be a text; got {type(output).__name__}")
    asked = case.prompt if isinstance(case.prompt, str) else case.prompt[-1].content
    reason = record.get("unscored")
    return CaseResult(
        id=case.id,
        cluster=case.cluster,
        score=None if score is None else float(score),
        output=output[:RECORDED_OUTPUT_CHARACTERS],
        target=case.target,
        prompt_preview=asked[:PREVIEW_CHARACTERS],
        unscored="" if score is not None else (reason if isinstance(reason, str) else "")[:200] or "no score",
    )


def _invalid(number: int, message: str) -> InvalidRequest:
    return InvalidRequest(f"line {number}: {message}", field="evaluation_run.imported.upload", line=number)
