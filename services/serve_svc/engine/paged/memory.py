"""The key-value cache in blocks: slots are only names, every request holds as many blocks as it needs."""

from __future__ import annotations

from collections.abc import Sequence

from serve_svc.engine.answer import Answer
from serve_svc.engine.paged.blocks import Blocks, Lease
from serve_svc.engine.scheduler import Place

__all__ = ["PagedMemory"]


class PagedMemory:
    """Leases by slot. The tokens of a slot that is being computed are counted in its lease already."""

    def __init__(self, blocks: Blocks, num_slots: int) -> None:
        self._blocks = blocks
        self._free = list(range(num_slots))
        self._leases: dict[int, Lease] = {}

    @property
    def num_free(self) -> int:
        """Slots that nobody uses."""
        return len(self._free)

    def take(self, answer: Answer) -> Place | None:
        """Give a request a slot, or None while there is no room."""
        if not self._free:
            return None
        lease = self._blocks.lease(answer.prompt_ids, answer.num_tokens_max, answer.adapter)
        if lease is None:
            return None
        slot = self._free.pop(0)
        self._leases[slot] = lease
        return Place(slot, slot, len(lease.tokens))

    def grow(self, slot: int, tokens: Sequence[int]) -> None:
        """Note what the next step appends to a slot."""
        self._blocks.grow(self._leases[slot], tokens)

    def give_back(self, slot: int) -> None:
        """Note that nobody uses a slot; what it holds stays known."""
        self._blocks.give_back(self._leases.pop(slot))
        self._free.append(slot)

    def lease(self, slot: int) -> Lease:
        """Return what a slot holds."""
        return self._leases[slot]
