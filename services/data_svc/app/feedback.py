"""What users say about answers."""

from __future__ import annotations

import json

from bessemer.api.data.v1 import feedback_service_pb2 as pb
from bessemer.api.data.v1.project_service_pb2 import Project
from bessemer.kernel.errors import InvalidRequest
from bessemer.kernel.ids import new_id
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

__all__ = ["Feedback"]


class Feedback:
    """Use cases of feedback."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def submit(self, request: pb.SubmitFeedbackRequest) -> pb.FeedbackRecord:
        """Record feedback on one answer."""
        given = request.feedback
        _check(given)
        record = pb.FeedbackRecord(
            name=f"{request.parent}/feedback/{new_id('feedback')}",
            response_id=given.response_id,
            model_version=given.model_version,
            rating=given.rating,
            prompt_json=given.prompt_json,
            answer=given.answer,
            edited_answer=given.edited_answer,
            comment=given.comment,
        )

        def commit(tx: Tx) -> pb.FeedbackRecord:
            tx.get(request.parent, Project)
            return tx.put(record, verb="created")

        return await self._store.write(commit)

    async def list(self, request: pb.ListFeedbackRequest) -> pb.ListFeedbackResponse:
        """Return a page of feedback."""
        found, token = await self._store.read(
            lambda tx: tx.list(
                pb.FeedbackRecord, request.parent, page_size=request.page_size or 50, page_token=request.page_token
            )
        )
        return pb.ListFeedbackResponse(feedback=found, next_page_token=token)


def _check(record: pb.FeedbackRecord) -> None:
    """Refuse what says nothing, and a prompt that is no conversation; lengths were checked by the contract's rules."""
    if not (record.rating or record.edited_answer or record.comment):
        raise InvalidRequest("feedback needs a rating, an edited answer or a comment", field="feedback.rating")
    if record.prompt_json and not _is_conversation(record.prompt_json):
        raise InvalidRequest(
            'feedback.prompt_json must be JSON of the form [{"role": "...", "content": "..."}]',
            field="feedback.prompt_json",
        )


def _is_conversation(text: str) -> bool:
    try:
        messages = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(messages, list) and all(
        isinstance(message, dict) and isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
        for message in messages
    )
