"""Who waits, who runs and what the cache holds: the state behind the scheduler's decisions."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from serve_svc.engine.answer import Answer
from serve_svc.engine.scheduler import Place, Running, Step, has_turn, place, plan

__all__ = ["Memory", "SlotMemory", "Slots"]


class Memory(Protocol):
    """Which tokens the key-value cache holds, and for whom."""

    @property
    def num_free(self) -> int:
        """Slots that nobody uses."""

    def take(self, answer: Answer) -> Place | None:
        """Give a request a slot, or None while there is no room."""

    def grow(self, slot: int, tokens: Sequence[int]) -> None:
        """Note what the next step appends to a slot."""

    def give_back(self, slot: int) -> None:
        """Note that nobody uses a slot; what it holds stays known."""


class SlotMemory:
    """Room for a whole conversation in every slot; prompts start from a copy of what another slot holds."""

    def __init__(self, num_slots: int) -> None:
        self._free = list(range(num_slots))  # longest unused first
        self._cached: dict[int, list[int]] = {slot: [] for slot in range(num_slots)}

    @property
    def num_free(self) -> int:
        """Slots that nobody uses."""
        return len(self._free)

    def take(self, answer: Answer) -> Place | None:
        """Give a request a slot, or None while there is no room."""
        found = place(answer.prompt_ids, cached=self._cached, free=self._free)
        if found is not None:
            self._free.remove(found.slot)
            self._cached[found.slot] = answer.prompt_ids[: found.num_shared]
        return found

    def grow(self, slot: int, tokens: Sequence[int]) -> None:
        """Note what the next step appends to a slot."""
        self._cached[slot] += tokens

    def give_back(self, slot: int) -> None:
        """Note that nobody uses a slot; what it holds stays known."""
        self._free.append(slot)


class Slots:
    """The waiting queue and the slots."""

    def __init__(self, memory: Memory, *, num_waiting_max: int, prefill_tokens_max: int) -> None:
        self._memory = memory
        self._num_waiting_max = num_waiting_max
        self._prefill_tokens_max = prefill_tokens_max
        self._waiting: deque[Answer] = deque()
        self._running: dict[str, Running] = {}
        self._answers: dict[str, Answer] = {}

    @property
    def busy(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self._waiting or self._running)

    @property
    def num_free(self) -> int:
        """Slots that nobody uses."""
        return self._memory.num_free

    @property
    def full(self) -> bool:
        """Whether the queue takes no more."""
        return len(self._waiting) >= self._num_waiting_max

    def add(self, answer: Answer) -> None:
        """Put a request at the end of the queue."""
        self._waiting.append(answer)

    def admit(self) -> Place | None:
        """Give the oldest waiting request a slot if it is its turn; call until None, and copy what a place shares."""
        if not self._waiting or not has_turn(list(self._running.values()), self._prefill_tokens_max):
            return None
        answer = self._waiting[0]
        found = self._memory.take(answer)
        if found is None:
            return None
        self._waiting.popleft()
        self._answers[answer.id] = answer
        self._running[answer.id] = Running(answer.id, found.slot, len(answer.prompt_ids), found.num_shared)
        return found

    def plan(self) -> Step:
        """Decide the next step and count it as done."""
        step = plan(list(self._running.values()), self._prefill_tokens_max)
        for chunk in step.prefill:
            self._running[chunk.id] = replace(self._running[chunk.id], num_read=chunk.stop)
            self._memory.grow(chunk.slot, self._answers[chunk.id].prompt_ids[chunk.start : chunk.stop])
        for request_id in step.decode:
            self._memory.grow(self.slot(request_id), self._answers[request_id].token_ids[-1:])
        return step

    def uses(self, adapter: str) -> bool:
        """Say whether anybody waits or runs with an adapter."""
        return any(answer.adapter == adapter for answer in (*self._waiting, *self._answers.values()))

    def answer(self, request_id: str) -> Answer:
        """Return a running request."""
        return self._answers[request_id]

    def holder(self, slot: int) -> Answer:
        """Return the running request that has a slot."""
        return next(self._answers[running.id] for running in self._running.values() if running.slot == slot)

    def slot(self, request_id: str) -> int:
        """Return the slot of a running request."""
        return self._running[request_id].slot

    def remove(self, request_id: str) -> Answer | None:
        """Free the slot or the place in the queue, and return who had it; unknown ids are ignored."""
        running = self._running.pop(request_id, None)
        if running is not None:
            self._memory.give_back(running.slot)
            return self._answers.pop(request_id)
        found = next((answer for answer in self._waiting if answer.id == request_id), None)
        if found is not None:
            self._waiting.remove(found)
        return found
