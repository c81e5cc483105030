"""Recent answers: kept for a day so that feedback can be joined with what it is about."""

from __future__ import annotations

from collections.abc import Callable

from bessemer.api.data.v1.feedback_service_pb2 import FeedbackRecord
from bessemer.kernel.errors import BessemerError, NotFound
from bessemer.svckit import log
from bessemer.svckit.context import current_principal
from bessemer.svckit.store import Store, Tx
from sqlalchemy import delete, func, insert, select

from serve_svc.app.tables import ANSWERS
from serve_svc.ports import FeedbackSink

__all__ = ["Answers"]

TEXT_BYTES_MAX = 64 << 10  # what a feedback record takes


class Answers:
    """The table of recent answers."""

    def __init__(self, store: Store, sink: FeedbackSink, *, kept: int, kept_s: float) -> None:
        self._store = store
        self._sink = sink
        self._kept = kept
        self._kept_s = kept_s

    async def record(
        self,
        response_id: str,
        *,
        project: str,
        model_version: str,
        prompt_json: str,
        answer: str,
        also: Callable[[Tx], None],
    ) -> None:
        """Keep an answer, and what `also` writes, at once; one that is too large, or a full disk, loses the join."""
        large = max(len(prompt_json.encode()), len(answer.encode())) > TEXT_BYTES_MAX
        values = {
            "response_id": response_id,
            "project": project,
            "model_version": model_version,
            "prompt_json": prompt_json,
            "answer": answer,
        }

        def write(tx: Tx) -> None:
            also(tx)
            if not large:
                tx.connection.execute(insert(ANSWERS).values(values | {"created_s": tx.clock.now().timestamp()}))

        try:
            await self._store.write(write)
        except BessemerError as error:
            log.warning("answer_not_kept", response=response_id, reason=error.reason)

    async def project_of(self, response_id: str) -> str:
        """Return the project an answer was given in.

        Raises: NotFound if it is not kept any more.
        """
        statement = select(ANSWERS.c.project).where(ANSWERS.c.response_id == response_id)
        project = await self._store.read(lambda tx: tx.connection.execute(statement).scalar())
        if project is None:
            raise NotFound(
                f"no answer {response_id[:80]!r} is known; answers are kept for {self._kept_s / 3600:.0f} hours, "
                "submit feedback with the conversation to data_svc instead",
                resource=response_id[:80],
            )
        return str(project)

    async def submit_feedback(self, record: FeedbackRecord) -> FeedbackRecord:
        """Join a record with the answer of its `response_id` and hand it on; who names no user speaks for itself."""
        project = await self.project_of(record.response_id)
        statement = select(ANSWERS).where(ANSWERS.c.response_id == record.response_id)
        row = await self._store.read(lambda tx: tx.connection.execute(statement).one())
        joined = FeedbackRecord(model_version=row.model_version, prompt_json=row.prompt_json, answer=row.answer)
        joined.MergeFrom(record)
        joined.user = record.user or current_principal().subject
        return await self._sink.submit(project, joined)

    async def prune(self) -> None:
        """Forget answers that are too old or too many."""

        def write(tx: Tx) -> None:
            oldest_s = tx.clock.now().timestamp() - self._kept_s
            number = tx.connection.execute(select(func.count()).select_from(ANSWERS)).scalar_one()
            if number > self._kept:
                newest = select(ANSWERS.c.created_s).order_by(ANSWERS.c.created_s.desc()).offset(self._kept).limit(1)
                oldest_s = max(oldest_s, tx.connection.execute(newest).scalar_one())
            tx.connection.execute(delete(ANSWERS).where(ANSWERS.c.created_s <= oldest_s))

        await self._store.write(write)
