"""Logs of inspect_ai (JSON): the samples with their targets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bessemer.sdk.suites.draft import SuiteDraft, refuse

__all__ = ["is_inspect_log", "read_inspect_log"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ROLES = {"system", "user", "assistant"}


def is_inspect_log(value: Any) -> bool:
    """Say whether a JSON value is such a log."""
    return isinstance(value, Mapping) and {"eval", "samples"} <= set(value)


def read_inspect_log(path: Path, value: Mapping[str, Any]) -> SuiteDraft:
    """Return the suite of a log; scorers `choice`, `includes`, `exact` and `match` are taken over, first epoch only.

    Raises: InvalidRequest naming the sample or the scorer.
    """
    samples = [each for each in value["samples"] or [] if each.get("epoch", 1) == 1]
    if not samples:
        raise refuse(path, "holds no samples")
    names = [each.get("name", "").rsplit("/", 1)[-1] for each in value["eval"].get("scorers") or []]
    if all(each.get("choices") for each in samples):
        return SuiteDraft(grader="choice", cases=[_choice(path, each) for each in samples])
    scorer = next((name for name in names if name in {"includes", "exact", "match"}), None)
    if scorer is None:
        raise refuse(path, f"scorer {', '.join(names) or 'none'} is not taken over; includes, exact, match, choice are")
    cases = [{**_asked(path, each), "target": _target(path, each)} for each in samples]
    if scorer == "exact":
        return SuiteDraft(grader="exact", cases=cases)
    # `includes` finds the target anywhere, `match` at the end; both without regard to case.
    tail = r"\W*$" if scorer == "match" else ""
    return SuiteDraft(
        grader="regex", cases=[case | {"target": f"(?i){re.escape(case['target'])}{tail}"} for case in cases]
    )


def _asked(path: Path, sample: Mapping[str, Any]) -> dict[str, Any]:
    asked = sample.get("input")
    if isinstance(asked, list):
        turns = [{"role": turn.get("role"), "content": turn.get("content")} for turn in asked]
        if not all(turn["role"] in _ROLES and isinstance(turn["content"], str) for turn in turns):
            raise refuse(path, f"sample {sample.get('id')}: tools and images are not taken over")
        return {"id": str(sample.get("id")), "prompt": turns}
    return {"id": str(sample.get("id")), "prompt": [{"role": "user", "content": asked}]}


def _target(path: Path, sample: Mapping[str, Any]) -> str:
    target = sample.get("target")
    if isinstance(target, list) and len(target) == 1:
        target = target[0]
    if not isinstance(target, str):
        raise refuse(path, f"sample {sample.get('id')}: several right answers are not taken over")
    return target


def _choice(path: Path, sample: Mapping[str, Any]) -> dict[str, Any]:
    target, choices = _target(path, sample), sample["choices"]
    index = _LETTERS.find(target) if len(target) == 1 else -1
    if not 0 <= index < len(choices):
        raise refuse(path, f"sample {sample.get('id')}: the target {target!r} is no letter of a choice")
    return {**_asked(path, sample), "choices": choices, "target": index}
