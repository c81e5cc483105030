"""Tells eval_svc's drift monitors about answers: lengths, speed and buckets of words, never text.

Answers never wait for it: rows are dropped and counted when eval_svc is away or slow.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bessemer.api.eval.v1.drift_pb2 import DriftRow
from bessemer.artifacts.lexical import sketch
from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import BessemerError
from bessemer.kernel.ids import project_of
from bessemer.svckit import log

from serve_svc.engine.protocol import Piece, Prompt
from serve_svc.ports import DriftSink

__all__ = ["DriftFeed"]

_ROWS_MAX = 2000  # waiting; some 2 MB
_BATCH = 500
_EVERY_S = 2.0
_LOOK_EVERY_S = 30.0  # how late a new monitor is seen
_FINISH_LENGTH = "length"


@dataclass(frozen=True, slots=True)
class _Known:
    """Monitors of a project by endpoint, and when they were asked for."""

    monitors: Mapping[str, Sequence[str]]
    asked_s: float


class DriftFeed:
    """A bounded queue of rows and the loop that empties it."""

    def __init__(self, sink: DriftSink, clock: Clock) -> None:
        self._sink = sink
        self._clock = clock
        self._rows: deque[tuple[str, DriftRow]] = deque()
        self._known: dict[str, _Known] = {}
        self.num_dropped = 0

    def offer(self, endpoint: str, response_id: str, prompt: Prompt, last: Piece, seconds: float) -> None:
        """Queue what is to be known of an answer that has ended; returns at once."""
        known = self._known.get(project_of(endpoint))
        if known is not None and endpoint not in known.monitors and time.monotonic() - known.asked_s < _LOOK_EVERY_S:
            return
        if len(self._rows) >= _ROWS_MAX:
            self.num_dropped += 1
            return
        asked = next((turn.content for turn in reversed(prompt.turns) if turn.role == "user"), prompt.text)
        row = DriftRow(
            id=response_id,
            numbers={
                "prompt_tokens": last.prompt_tokens,
                "response_tokens": last.completion_tokens,
                "seconds_per_token": seconds / max(1, last.completion_tokens),
            },
            flags={"truncated": last.finish == _FINISH_LENGTH},
            buckets=sketch(asked),
        )
        row.time.FromDatetime(self._clock.now())
        self._rows.append((endpoint, row))

    async def run(self) -> None:
        """Hand rows on until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Hand on what waits now."""
        waiting, dropped = defaultdict[str, list[DriftRow]](list), self.num_dropped
        while self._rows:
            endpoint, row = self._rows.popleft()
            waiting[endpoint].append(row)
        for endpoint, rows in waiting.items():
            try:
                for monitor in await self._monitors(endpoint):
                    for start in range(0, len(rows), _BATCH):
                        await self._sink.observe(monitor, rows[start : start + _BATCH])
            except BessemerError as error:
                self.num_dropped += len(rows)
                log.warning("drift_rows_dropped", endpoint=endpoint, reason=error.reason, dropped=len(rows))
        if self.num_dropped > dropped:
            log.warning("drift_rows_dropped_in_all", dropped=self.num_dropped)

    async def _monitors(self, endpoint: str) -> Sequence[str]:
        project = project_of(endpoint)
        known = self._known.get(project)
        if known is None or time.monotonic() - known.asked_s >= _LOOK_EVERY_S:
            known = self._known[project] = _Known(await self._sink.monitors(project), time.monotonic())
        return known.monitors.get(endpoint, ())
