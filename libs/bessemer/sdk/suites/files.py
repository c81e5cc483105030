"""Which reader a file needs, seen from its name and its first row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bessemer.sdk.suites.draft import SuiteDraft, read_json, read_rows, refuse
from bessemer.sdk.suites.harness_log import is_harness_log, read_harness_log
from bessemer.sdk.suites.harness_task import read_task
from bessemer.sdk.suites.inspect_log import is_inspect_log, read_eval_file, read_inspect_log
from bessemer.sdk.suites.openai_graders import is_openai_grader, read_openai_grader

__all__ = ["read_suite"]

_SYNONYMS = {"prompt": ("question", "input", "query"), "target": ("answer", "output", "expected", "label")}


def read_suite(path: Path, *, items: Path | None = None, grader: str = "") -> SuiteDraft:
    """Return the suite of a file.

    It is a task (YAML) or a sample log of lm-evaluation-harness, a log of inspect_ai (JSON or `.eval`), a grader of the
    OpenAI API (JSON, with its `items`), or has rows (JSON Lines, CSV) that go under a `grader` that is named.
    Raises: InvalidRequest saying what cannot be taken over; FailedPrecondition if a library is missing.
    """
    if path.suffix in {".yaml", ".yml"}:
        return read_task(path)
    if path.suffix == ".eval":
        return read_inspect_log(path, read_eval_file(path))
    if path.suffix == ".json":
        value = read_json(path)
        if is_inspect_log(value):
            return read_inspect_log(path, value)
        if is_openai_grader(value):
            if items is None:
                raise refuse(path, "a grader needs the items it grades; add --cases items.jsonl", field="cases")
            return read_openai_grader(path, value, read_rows(items))
    rows = read_rows(path)
    if is_harness_log(rows[0]):
        return read_harness_log(path, rows)
    if not grader:
        raise refuse(path, "rows do not say how they are judged; add --grader", field="grader")
    return SuiteDraft(grader=grader, cases=[_case(path, number, row) for number, row in enumerate(rows)])


def _case(path: Path, number: int, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as a case: usual other names of fields are understood, choices may be a JSON list in a cell."""
    case = {key: value for key, value in row.items() if key in {"id", "cluster", "text", "prompt", "choices", "target"}}
    for field, names in _SYNONYMS.items():
        found = next((row[name] for name in names if row.get(name) is not None), None)
        if found is not None:
            case.setdefault(field, found)
    if isinstance(case.get("choices"), str):
        try:
            case["choices"] = json.loads(case["choices"])
        except ValueError as error:
            raise refuse(path, f"row {number}: choices must be a JSON list") from error
        if str(case.get("target", "")).isdigit() and case["target"] not in case["choices"]:
            case["target"] = int(case["target"])
    case.setdefault("id", f"{path.stem}:{number}")
    return case
