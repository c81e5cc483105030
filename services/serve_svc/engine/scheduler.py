"""What the next step computes: pure decisions over who waits and who runs.

Requests get slots in order of arrival and are never overtaken, so nobody starves; a step prefills at most a budget of
prompt tokens, so that running answers are never held up for longer than that; then every answer in progress gets
one token.
Source: continuous batching, Orca (OSDI 2022, section 4.1); chunked prefill, Sarathi-Serve (OSDI 2024, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Chunk", "Place", "Running", "Step", "has_turn", "num_shared", "place", "plan"]

PREFIX_TOKENS_MIN = 16  # below that, copying costs more care than it saves time


@dataclass(frozen=True, slots=True)
class Place:
    """A slot, and the slot whose first `num_shared` tokens it starts from (itself if it holds them already)."""

    slot: int
    source: int
    num_shared: int


@dataclass(frozen=True, slots=True)
class Running:
    """A request in a slot, `num_read` of whose prompt tokens are in the cache."""

    id: str
    slot: int
    num_prompt: int
    num_read: int

    @property
    def num_unread(self) -> int:
        """Prompt tokens still to prefill."""
        return self.num_prompt - self.num_read


@dataclass(frozen=True, slots=True)
class Chunk:
    """Prompt tokens `start` to `stop` of a request; `last` if its first answer token follows."""

    id: str
    slot: int
    start: int
    stop: int
    last: bool


@dataclass(frozen=True, slots=True)
class Step:
    """Prompt chunks to prefill, then answers to continue by one token."""

    prefill: tuple[Chunk, ...]
    decode: tuple[str, ...]


def has_turn(running: Sequence[Running], budget: int) -> bool:
    """Say whether the next request may have a slot: one given away before its prompt can be read would be idle."""
    return sum(request.num_unread for request in running) < budget


def place(prompt: Sequence[int], *, cached: Mapping[int, Sequence[int]], free: Sequence[int]) -> Place | None:
    """Decide where the next request goes, or None to let it wait.

    `cached` holds the tokens of every slot, in use or not; `free` the unused slots, longest unused first.
    """
    if not free:
        return None
    # The last prompt token is always read anew: its logits choose the first token of the answer.
    shared = {slot: num_shared(prompt[:-1], tokens) for slot, tokens in cached.items()}
    source = max(shared, key=lambda slot: (shared[slot], slot in free), default=free[0])
    if shared.get(source, 0) < PREFIX_TOKENS_MIN:
        return Place(free[0], free[0], 0)
    return Place(source if source in free else free[0], source, shared[source])


def plan(running: Sequence[Running], budget: int) -> Step:
    """Decide the next step; empty when nothing runs."""
    decode = tuple(request.id for request in running if not request.num_unread)
    prefill: list[Chunk] = []
    for request in running:
        size = min(request.num_unread, budget)
        if size > 0:
            stop = request.num_read + size
            prefill.append(Chunk(request.id, request.slot, request.num_read, stop, stop == request.num_prompt))
            budget -= size
    return Step(tuple(prefill), decode)


def num_shared(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with alike."""
    length = min(len(left), len(right))
    return next((i for i in range(length) if left[i] != right[i]), length)
