"""What users say about answers."""

from __future__ import annotations

import json

from bessemer.api.data.v1 import feedback_service_pb2 as pb
from bessemer.api.data.v1.project_service_pb2 import Project
from bessemer.kernel.errors import InvalidRequest
from bessemer.kernel.ids import new_id
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from data_svc.app.datasets import every

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

        def read(tx: Tx) -> pb.FeedbackCounts:
            found, users = pb.FeedbackCounts(), set[str]()
            for record in every(tx, pb.FeedbackRecord, request.parent):
                if _counts_for(record, request):
                    found.num_up += record.rating == pb.RATING_UP
                    found.num_down += record.rating == pb.RATING_DOWN
                    found.num_edits += bool(record.edited_answer)
                    found.num_signals += bool(record.signals) and not (record.rating or record.edited_answer)
                    users.add(record.user or record.creator)
            found.num_users = len(users)
            return found

        return await self._store.read(read)

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


def _counts_for(record: pb.FeedbackRecord, request: pb.CountFeedbackRequest) -> bool:
    wanted = not request.model_versions or record.model_version in request.model_versions
    return (
        wanted
        and record.create_time.ToNanoseconds() >= request.from_time.ToNanoseconds()
        and not record.HasField("erase_time")
    )


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
