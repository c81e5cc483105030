"""Feedback as the HTTP door takes it: JSON of texts, and of lists of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bessemer.api.data.v1.feedback_service_pb2 import (
    RATING_DOWN,
    RATING_UP,
    SIGNAL_ABANDONED,
    SIGNAL_COPIED,
    SIGNAL_FOLLOWED_UP,
    SIGNAL_REGENERATED,
    FeedbackRecord,
    Signal,
)
from bessemer.kernel.errors import InvalidRequest
from bessemer.svckit.validation import validate

__all__ = ["read_feedback"]

_TEXTS = ("response_id", "rating", "comment", "edited_answer", "user", "consent")
_LISTS = ("categories", "signals")
_RATINGS = {"up": RATING_UP, "down": RATING_DOWN}
_SIGNALS: dict[str, Signal] = {
    "regenerated": SIGNAL_REGENERATED,
    "copied": SIGNAL_COPIED,
    "abandoned": SIGNAL_ABANDONED,
    "followed_up": SIGNAL_FOLLOWED_UP,
}


def read_feedback(body: object) -> FeedbackRecord:
    """Return the record that a body describes.

    Raises: InvalidRequest naming the first field that is wrong.
    """
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object")
    if unknown := body.keys() - {*_TEXTS, *_LISTS}:
        raise InvalidRequest(
            f"unknown field {min(unknown)!r}; known are {', '.join(sorted((*_TEXTS, *_LISTS)))}", field=min(unknown)
        )
    texts = {name: _text(body, name) for name in _TEXTS}
    lists = {name: _list(body, name) for name in _LISTS}
    rating = texts.pop("rating")
    if rating not in {"", *_RATINGS}:
        raise InvalidRequest("rating must be up or down", field="rating")
    for signal in lists["signals"]:
        if signal not in _SIGNALS:
            raise InvalidRequest(f"signals may be {', '.join(sorted(_SIGNALS))}; got {signal[:80]!r}", field="signals")
    record = FeedbackRecord(rating=_RATINGS.get(rating), categories=lists["categories"])
    record.signals.extend(_SIGNALS[signal] for signal in lists["signals"])
    for name, text in texts.items():
        setattr(record, name, text)
    validate(record, strict=True)
    return record


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a text", field=name)
    return value


def _list(body: Mapping[str, Any], name: str) -> list[str]:
    value = body.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidRequest(f"{name} must be a list of texts", field=name)
    return value
