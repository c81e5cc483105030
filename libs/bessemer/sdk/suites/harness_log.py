"""Sample logs of lm-evaluation-harness (`samples_*.jsonl`): the prompts it asked, whatever code made them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bessemer.sdk.suites.draft import SuiteDraft, refuse

__all__ = ["is_harness_log", "read_harness_log", "task_of"]

# lm-eval puts the time of the run behind the task, `samples_<task>_2026-11-28T10-00-00.123456.jsonl`.
_NAME = re.compile(r"(?:samples_)?(.+?)(?:_\d{4}-\d\d-\d\dT[\d.-]+)?")


def is_harness_log(row: Mapping[str, Any]) -> bool:
    """Say whether a row is one of such a log."""
    return {"doc_id", "arguments", "target"} <= set(row)


def task_of(path: Path) -> str:
    """Return the task that a log's name holds; ids begin with it, so two models' logs have the same ids."""
    found = _NAME.fullmatch(path.stem)
    return found[1] if found else path.stem


def read_harness_log(path: Path, rows: list[dict[str, Any]]) -> SuiteDraft:
    """Return the suite of the requests in a log, each document once.

    Raises: InvalidRequest for requests that are neither choices nor generation.
    """
    cases, options, tokens = [], {}, 0
    seen: set[Any] = set()
    for number, row in enumerate(rows, start=1):
        if row["doc_id"] in seen:  # once for every filter
            continue
        seen.add(row["doc_id"])
        identifier = f"{task_of(path)}:{row['doc_id']}"
        asked = list(row["arguments"].values()) if isinstance(row["arguments"], Mapping) else row["arguments"]
        pairs = [list(pair.values()) if isinstance(pair, Mapping) else list(pair) for pair in asked]
        if len(pairs) > 1 and all(len(pair) == 2 and isinstance(pair[1], str) for pair in pairs):
            cases.append(_choice(path, number, identifier, pairs, row["target"]))
        elif len(pairs) == 1 and isinstance(pairs[0][-1], Mapping):
            settings = pairs[0][-1]
            until = settings.get("until") or []
            options = {"stop": [until] if isinstance(until, str) else list(until), "exact": {"verbatim": False}}
            tokens = int(settings.get("max_gen_toks") or 0)
            cases.append({"id": identifier, "prompt": pairs[0][0], "target": str(row["target"])})
        else:
            raise refuse(path, f"line {number}: the requests are neither choices nor generation")
    if len({"choices" in case for case in cases}) != 1:
        raise refuse(path, "holds choices and generation; import one task's log at a time")
    if "choices" in cases[0]:
        return SuiteDraft(grader="choice", cases=cases, options={"choice_length": "CHOICE_LENGTH_NONE"})
    notes = ["the log does not say how answers were filtered; they are compared without case and punctuation"]
    return SuiteDraft(grader="exact", cases=cases, options=options, max_tokens=tokens, notes=notes)


def _choice(path: Path, number: int, identifier: str, pairs: list[list[Any]], target: Any) -> dict[str, Any]:
    prompts, choices = {pair[0] for pair in pairs}, [pair[1] for pair in pairs]
    if len(prompts) != 1:
        raise refuse(path, f"line {number}: a prompt for each choice, as in Winogrande, is not taken over")
    # White space that all choices begin with was the delimiter.
    gap = " " if all(choice[:1] == " " for choice in choices) else ""
    choices = [choice[len(gap) :] for choice in choices]
    index = choices.index(target) if target in choices else int(target) if str(target).isdigit() else -1
    if not 0 <= index < len(choices):
        raise refuse(path, f"line {number}: the target {target!r} is none of the choices")
    return {"id": identifier, "prompt": prompts.pop() + gap, "choices": choices, "target": index}
