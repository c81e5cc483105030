"""Graders of the OpenAI API, as JSON, with the items they grade."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bessemer.sdk.suites.draft import SuiteDraft, refuse

__all__ = ["is_openai_grader", "read_openai_grader"]

_PLACE = re.compile(r"\{\{\s*item\.([\w.]+)\s*\}\}")
_SAMPLE = re.compile(r"\{\{\s*sample\.(?:output_text|output_json)[\w.]*\s*\}\}")
_MEASURES = {"rouge_1": "TEXT_MEASURE_TOKEN_F1", "fuzzy_match": "", "bleu": "", "gleu": "", "meteor": "", "rouge_l": ""}
_KINDS = {"string_check", "text_similarity", "score_model", "label_model", "python", "multi"}
_REASONS = {
    "python": "its code would run outside of a sandbox; write unit tests as targets and take --grader python",
    "label_model": "labels are no scores; use score_model",
}
Grader = tuple[str, dict[str, Any], str]


def is_openai_grader(value: Any) -> bool:
    """Say whether a JSON value is such a grader."""
    return isinstance(value, Mapping) and value.get("type") in _KINDS


def read_openai_grader(path: Path, value: Mapping[str, Any], items: list[dict[str, Any]]) -> SuiteDraft:
    """Return the suite of a grader and its items, which have `messages` or `prompt`.

    Raises: InvalidRequest for graders that cannot be taken over, with the reason.
    """
    notes: list[str] = []
    name, options, reference = _grader(path, value, notes)
    cases = []
    for number, item in enumerate(items):
        prompt = item.get("messages") or item.get("prompt")
        if not prompt:
            raise refuse(path, f"item {number} has neither messages nor prompt")
        target = _fill(path, reference, item)
        if name == "regex":
            target = ("(?i)" if value.get("operation") == "ilike" else "") + re.escape(target)
        case = {"id": str(item.get("id", f"{path.stem}:{number}")), "prompt": prompt}
        cases.append(case | ({"target": target} if target else {}))
    return SuiteDraft(grader=name, cases=cases, options=options, notes=notes)


def _grader(path: Path, value: Mapping[str, Any], notes: list[str]) -> Grader:
    """Return our name, options and the template of the target."""
    kind = value.get("type")
    if kind in _REASONS:
        raise refuse(path, f"{kind} is not taken over: {_REASONS[kind]}")
    if kind == "score_model":
        return _judge(path, value)
    if kind == "multi":
        return _formula(path, value, notes)
    if not _SAMPLE.fullmatch(str(value.get("input", "")).strip()):
        raise refuse(path, "input must be {{sample.output_text}} alone")
    reference = str(value.get("reference", ""))
    if kind == "text_similarity":
        metric = str(value.get("evaluation_metric"))
        if metric not in _MEASURES:
            raise refuse(path, f"evaluation_metric {metric!r} is not taken over; {', '.join(_MEASURES)} are")
        measure = _MEASURES[metric]
        notes.append(f"{metric} is scored as {'token F1' if measure else 'chrF'}: not the same numbers")
        return "text_similarity", {"text_measure": measure} if measure else {}, reference
    operation = value.get("operation")
    if operation == "eq":
        return "exact", {"exact": {"verbatim": True}}, reference
    if operation in {"like", "ilike"}:
        return "regex", {}, reference
    raise refuse(path, f"string_check {operation!r} is not taken over; eq, like and ilike are")


def _judge(path: Path, value: Mapping[str, Any]) -> Grader:
    turns = value.get("input") or []
    text = "\n\n".join(str(turn.get("content")) for turn in turns if isinstance(turn, Mapping))
    text = _SAMPLE.sub("{output}", text)
    places = set(_PLACE.findall(text))
    if len(places) > 1:
        raise refuse(path, f"score_model names several fields, {', '.join(sorted(places))}; one is the target")
    text = _PLACE.sub("{target}", text)
    lowest, highest = value.get("range") or [0, 1]
    instructions = f'{text}\n\nAnswer with JSON and nothing else: {{"score": number from {lowest} to {highest}}}'
    judge = {"judge": str(value.get("model")), "instructions": instructions, "lowest": lowest, "highest": highest}
    return "judge", {"judge": judge}, f"{{{{item.{places.pop()}}}}}" if places else ""


def _formula(path: Path, value: Mapping[str, Any], notes: list[str]) -> Grader:
    graders = value.get("graders") or {}
    parts, references = [], set()
    for name, each in graders.items():
        grader, options, reference = _grader(path, each, notes)
        if grader in {"formula", "regex"}:
            raise refuse(path, f"{each.get('type')} {each.get('operation', '')} inside multi is not taken over")
        part = {"id": name, "grader": f"GRADER_KIND_{grader.upper()}", "options": options}
        if _PLACE.search(reference) or not reference:
            references.add(reference)
        else:
            part["target"] = reference
        parts.append(part)
    references.discard("")
    if len(references) > 1:
        raise refuse(path, f"multi refers to several targets, {', '.join(sorted(references))}; give them one")
    formula = {"expression": str(value.get("calculate_output", "")), "parts": parts}
    return "formula", {"formula": formula}, references.pop() if references else "{{item.reference}}"


def _fill(path: Path, template: str, item: Mapping[str, Any]) -> str:
    def value(found: re.Match[str]) -> str:
        at: Any = item
        for key in found[1].split("."):
            if not isinstance(at, Mapping) or key not in at:
                raise refuse(path, f"an item lacks {found[1]!r}, which the grader refers to")
            at = at[key]
        return str(at)

    return _PLACE.sub(value, template)
