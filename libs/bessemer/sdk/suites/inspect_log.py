"""Logs of inspect_ai: the samples with their targets."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bessemer.sdk.suites.draft import SuiteDraft, refuse

__all__ = ["case_of", "is_inspect_log", "read_eval_file", "read_inspect_log", "text_of"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ROLES = {"system", "user", "assistant"}
_ATTACHED = "attachment://"
_FILE_BYTES_MAX = 1 << 30


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


def read_eval_file(path: Path) -> dict[str, Any]:
    """Return the log that a `.eval` file packs: `header.json` with one file a sample.

    Raises: InvalidRequest if it is none, or is packed in a way that Python's own library does not know.
    """
    try:
        with zipfile.ZipFile(path) as file:
            entries = [each for each in file.infolist() if each.filename.startswith("samples/")]
            if sum(each.file_size for each in entries) > _FILE_BYTES_MAX:
                raise refuse(path, f"holds more than {_FILE_BYTES_MAX} bytes; split it")
            value: dict[str, Any] = json.loads(file.read("header.json"))
            value["samples"] = [json.loads(file.read(each)) for each in sorted(entries, key=lambda e: e.filename)]
    except NotImplementedError:
        raise refuse(path, "is packed with zstd; convert it with: inspect log convert --to json") from None
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise refuse(path, f"is no log of inspect: {type(error).__name__}") from error
    if not is_inspect_log(value):
        raise refuse(path, "is no log of inspect")
    return value


def text_of(sample: Mapping[str, Any], content: Any) -> str | None:
    """Return what a message says, its attachments and parts of text put in; None if it is more than text."""
    if isinstance(content, list):
        parts = [text_of(sample, each.get("text")) for each in content if each.get("type") == "text"]
        return "\n".join(filter(None, parts)) if len(parts) == len(content) else None
    if isinstance(content, str) and content.startswith(_ATTACHED):
        found = (sample.get("attachments") or {}).get(content.removeprefix(_ATTACHED))
        return found if isinstance(found, str) else None
    return content if isinstance(content, str) else None


def case_of(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sample as a case whose answers are marked elsewhere: what can be read of it, and its id."""
    asked, target = sample.get("input"), sample.get("target")
    turns = asked if isinstance(asked, list) else [{"content": asked}]
    text = "\n".join(filter(None, (text_of(sample, turn.get("content")) for turn in turns)))
    right = "; ".join(map(str, target)) if isinstance(target, list) else str(target or "")
    identifier = str(sample.get("id"))
    return {"id": identifier, "prompt": text.strip() or identifier, "target": right.strip() or "-"}


def _asked(path: Path, sample: Mapping[str, Any]) -> dict[str, Any]:
    asked = sample.get("input")
    if isinstance(asked, list):
        turns = [{"role": turn.get("role"), "content": text_of(sample, turn.get("content"))} for turn in asked]
        if not all(turn["role"] in _ROLES and isinstance(turn["content"], str) for turn in turns):
            raise refuse(path, f"sample {sample.get('id')}: tools and images are not taken over")
        return {"id": str(sample.get("id")), "prompt": turns}
    return {"id": str(sample.get("id")), "prompt": [{"role": "user", "content": text_of(sample, asked)}]}


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
