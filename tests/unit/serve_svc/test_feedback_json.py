"""Feedback as the HTTP door takes it."""

from __future__ import annotations

import pytest
from bessemer.api.data.v1 import feedback_service_pb2 as api
from bessemer.kernel.errors import InvalidRequest
from serve_svc.api.feedback_json import read_feedback


def test_all_fields_are_read():
    body = {
        "response_id": "r1", "rating": "down", "comment": "no", "edited_answer": "yes", "user": "u1",
        "consent": "training", "categories": ["wrong"], "signals": ["regenerated", "copied"],
    }  # fmt: skip
    record = read_feedback(body)
    assert (record.rating, record.user, record.consent) == (api.RATING_DOWN, "u1", "training")
    assert list(record.signals) == [api.SIGNAL_REGENERATED, api.SIGNAL_COPIED]
    assert list(record.categories) == ["wrong"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"rating": "meh"}, "rating"),
        ({"rating": 1}, "rating"),
        ({"signals": ["shouted"]}, "signals"),
        ({"signals": "copied"}, "signals"),
        ({"categories": ["Not A Tag"]}, "categories[0]"),
        ({"consent": "YES PLEASE"}, "consent"),
        ({"who": "me"}, "who"),
    ],
)
def test_what_is_wrong_is_named(body, field):
    with pytest.raises(InvalidRequest) as refused:
        read_feedback(body)
    assert refused.value.fields["field"] == field


def test_only_objects_are_read():
    with pytest.raises(InvalidRequest):
        read_feedback(["up"])
