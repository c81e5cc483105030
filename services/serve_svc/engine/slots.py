"""Who waits, who runs and what the cache holds: the state behind the scheduler's decisions."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from serve_svc.engine.answer import Answer
from serve_svc.engine.scheduler import Place, Running, Step, place, plan

__all__ = ["Slots"]


class Slots:
    """The waiting queue and the slots."""

    def __init__(self, *, num_slots: int, num_waiting_max: int, prefill_tokens_max: int) -> None:
        self._num_waiting_max = num_waiting_max
        self._prefill_tokens_max = prefill_tokens_max
        self._waiting: deque[Answer] = deque()
        self._running: dict[str, Running] = {}
        self._answers: dict[str, Answer] = {}
        self._free = list(range(num_slots))  # longest unused first
        self._cached: dict[int, list[int]] = {slot: [] for slot in range(num_slots)}

    @property
    def busy(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self._waiting or self._running)

    @property
    def num_free(self) -> int:
        """Slots that nobody uses."""
        return len(self._free)

    @property
    def full(self) -> bool:
        """Whether the queue takes no more."""
        return len(self._waiting) >= self._num_waiting_max

    def add(self, answer: Answer) -> None:
        """Put a request at the end of the queue."""
        self._waiting.append(answer)

    def admit(self) -> Place | None:
        """Give the oldest waiting request a slot if it is its turn; call until None, and copy what a place shares."""
        if not self._waiting:
            return None
        answer = self._waiting[0]
        found = place(
            answer.prompt_ids,
            running=list(self._running.values()),
            cached=self._cached,
            free=self._free,
            budget=self._prefill_tokens_max,
        )
        if found is None:
            return None
        self._waiting.popleft()
        self._free.remove(found.slot)
        self._cached[found.slot] = answer.prompt_ids[: found.num_shared]
        self._answers[answer.id] = answer
        self._running[answer.id] = Running(answer.id, found.slot, len(answer.prompt_ids), found.num_shared)
        return found

    def plan(self) -> Step:
        """Decide the next step and count it as done."""
        step = plan(list(self._running.values()), self._prefill_tokens_max)
        for chunk in step.prefill:
            self._running[chunk.id] = replace(self._running[chunk.id], num_read=chunk.stop)
            self._cached[chunk.slot] += self._answers[chunk.id].prompt_ids[chunk.start : chunk.stop]
        for request_id in step.decode:
            self._cached[self.slot(request_id)].append(self._answers[request_id].token_ids[-1])
        return step

    def answer(self, request_id: str) -> Answer:
        """Return a running request."""
        return self._answers[request_id]

    def slot(self, request_id: str) -> int:
        """Return the slot of a running request."""
        return self._running[request_id].slot

    def remove(self, request_id: str) -> Answer | None:
        """Free the slot or the place in the queue, and return who had it; unknown ids are ignored."""
        running = self._running.pop(request_id, None)
        if running is not None:
            self._free.append(running.slot)
            return self._answers.pop(request_id)
        found = next((answer for answer in self._waiting if answer.id == request_id), None)
        if found is not None:
            self._waiting.remove(found)
        return found
