"""A person's verdicts on documents: what a classifier of quality learns from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from bessemer.kernel.errors import InvalidRequest

__all__ = ["LABELS_MIN", "QualityLabel", "check_enough", "read_labels"]

LABELS_MIN = 20  # of each verdict; fewer say nothing about the next document
_KEYS = ("source", "id", "text")
_FIELD = "curation_job.quality_labels"


@dataclass(frozen=True)
class QualityLabel:
    """A verdict on the document that has `value` as its `key`: source, id or text."""

    key: str
    value: str
    accept: bool


def read_labels(lines: Iterable[bytes]) -> list[QualityLabel]:
    """Return the labels of JSON Lines `{"source" | "id" | "text", "accept": true | false}`, one per document.

    Raises: InvalidRequest naming the first line that is none, or that contradicts another.
    """
    labels: dict[tuple[str, str], QualityLabel] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        label = _read(line, number)
        if labels.setdefault((label.key, label.value), label) != label:
            raise InvalidRequest(
                f"line {number} of the labels contradicts another on {label.key} {label.value[:80]!r}; keep one",
                field=_FIELD,
            )
    return list(labels.values())


def check_enough(accepted: int, rejected: int, unknown: int) -> None:
    """Check that there are documents of both verdicts to learn from.

    Raises: InvalidRequest with the counts; `unknown` labels name no document.
    """
    if min(accepted, rejected) < LABELS_MIN:
        raise InvalidRequest(
            f"a classifier needs {LABELS_MIN} accepted and {LABELS_MIN} rejected documents; the labels name {accepted} "
            f"and {rejected}, and {unknown} that are not among the documents; judge more of documents.jsonl",
            field=_FIELD,
        )


def _read(line: bytes, number: int) -> QualityLabel:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InvalidRequest(f"line {number} of the labels is not JSON: {error}", field=_FIELD) from error
    keys = [key for key in _KEYS if isinstance(value, dict) and isinstance(value.get(key), str)]
    if len(keys) != 1 or not isinstance(value.get("accept"), bool):
        raise InvalidRequest(
            f'line {number} of the labels must be {{"source" or "id" or "text": string, "accept": true or false}}',
            field=_FIELD,
        )
    return QualityLabel(keys[0], value[keys[0]], value["accept"])
