"""What users say about answers."""

from __future__ import annotations

import json

from bessemer.api.data.v1 import feedback_service_pb2 as pb
from bessemer.api.data.v1.project_service_pb2 import Project
from bessemer.kernel.errors import InvalidRequest
from bessemer.kernel.ids import new_id
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from data_svc.app.feedback_index import FeedbackIndex

__all__ = ["Feedback"]


class Feedback:
    """Use cases of feedback."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._index = FeedbackIndex()

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
            user=given.user,
            consent=given.consent,
            categories=sorted(set(given.categories)),
            signals=sorted(set(given.signals)),
            behaviour_logprobs=given.behaviour_logprobs,
            deployment=given.deployment,
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

    async def count(self, request: pb.CountFeedbackRequest) -> pb.FeedbackCounts:
        """Return how much was said about answers of some versions."""
        return await self._store.read(lambda tx: self._index.count(tx, request))

    async def erase(self, name: str) -> pb.FeedbackRecord:
        """Take the contents out of a record, and out of the events that told of it; one that is bare stays so.

        What was handed to consumers before stays with them; dataset versions are rewritten by an erasure of their own.
        """

        def commit(tx: Tx) -> pb.FeedbackRecord:
            record = tx.get(name, pb.FeedbackRecord)
            if record.HasField("erase_time"):
                return record
            bare = pb.FeedbackRecord(name=name, response_id=record.response_id, model_version=record.model_version)
            bare.erase_time.FromDatetime(tx.clock.now())
            stored = tx.put(bare, verb="erased")
            tx.forget(name, stored)
            return stored

        return await self._store.write(commit)


def _check(record: pb.FeedbackRecord) -> None:
    """Refuse what says nothing, and a prompt that is no conversation; lengths were checked by the contract's rules."""
    if not (record.rating or record.edited_answer or record.comment or record.categories or record.signals):
        raise InvalidRequest(
            "feedback needs a rating, an edited answer, a comment, categories or signals", field="feedback.rating"
        )
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
