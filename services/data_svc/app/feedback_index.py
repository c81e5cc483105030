"""What counting needs of feedback, in memory: read whole once, then what the log says has changed since."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import NamedTuple

from bessemer.api.data.v1 import feedback_service_pb2 as pb
from bessemer.api.event.v1.data_events_pb2 import FeedbackRecordChanged
from bessemer.kernel.ids import parent_of
from bessemer.svckit.tx import Tx

from data_svc.app.datasets import every

__all__ = ["FeedbackIndex"]

_EVENTS = "bessemer.data.feedback_record."
_PAGE = 1000


class _Fact(NamedTuple):
    """One record."""

    time_ns: int
    rating: int
    is_edited: bool
    is_signal: bool
    user: str


class FeedbackIndex:
    """Facts of records by project, model version and name; may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._projects: dict[str, dict[str, dict[str, _Fact]]] = {}
        self._sequence = 0  # of the last event that is in it

    def count(self, tx: Tx, request: pb.CountFeedbackRequest) -> pb.FeedbackCounts:
        """Count records of the versions asked for, or of all, since the time asked for."""
        with self._lock:
            self._catch_up(tx)
            if request.parent not in self._projects:
                self._read(tx, request.parent)
            versions = self._projects[request.parent]
            wanted = set(request.model_versions) or versions.keys()
            since_ns = request.from_time.ToNanoseconds()
            facts = [f for v in wanted for f in versions.get(v, {}).values() if f.time_ns >= since_ns]
        return _sum(facts)

    def _catch_up(self, tx: Tx) -> None:
        """Take in what happened since the last time; start anew if the log does not go back as far."""
        if self._sequence < tx.tail() - 1:
            self._projects.clear()
        if not self._projects:
            self._sequence = tx.head()
            return
        while events := tx.changes(self._sequence, limit=_PAGE):
            for event in events:
                if event.type.startswith(_EVENTS):
                    self._take(FeedbackRecordChanged.FromString(event.payload).feedback_record)
            self._sequence = events[-1].sequence

    def _read(self, tx: Tx, project: str) -> None:
        self._projects[project] = {}
        for record in every(tx, pb.FeedbackRecord, project):
            self._take(record)

    def _take(self, record: pb.FeedbackRecord) -> None:
        versions = self._projects.get(parent_of(record.name))
        if versions is None:
            return  # nobody counts that project; it is read when somebody does
        if record.HasField("erase_time"):
            versions.get(record.model_version, {}).pop(record.name, None)
            return
        versions.setdefault(record.model_version, {})[record.name] = _Fact(
            record.create_time.ToNanoseconds(),
            record.rating,
            bool(record.edited_answer),
            bool(record.signals) and not (record.rating or record.edited_answer),
            record.user or record.creator,
        )


def _sum(facts: Iterable[_Fact]) -> pb.FeedbackCounts:
    found, users = pb.FeedbackCounts(), set[str]()
    for fact in facts:
        found.num_up += fact.rating == pb.RATING_UP
        found.num_down += fact.rating == pb.RATING_DOWN
        found.num_edits += fact.is_edited
        found.num_signals += fact.is_signal
        users.add(fact.user)
    found.num_users = len(users)
    return found
