"""Who holds which blocks of the key-value cache, and which of them begin as a new prompt does.

A prompt that begins like one read before takes the blocks of that beginning, in use or not, and reads on from there.
Blocks nobody uses keep what they hold until others need the room, longest unused first.
Source: PagedAttention, Kwon et al. 2023, sections 4.2 and 4.4.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serve_svc.engine.scheduler import num_shared

__all__ = ["BLOCK_TOKENS", "Blocks", "Lease"]

BLOCK_TOKENS = 32  # what the attention kernels of the CPU plugin are written for
PIECE_TOKENS_MIN = 4  # below that, copying a block costs more than reading the tokens again

# What a text begins with: the space of its request, or the identity of the block before.
_Beginning = str | int


@dataclass(slots=True)
class Lease:
    """The blocks of one request, the tokens in them, and how many blocks may still come.

    `copy` names a block and the fresh one that must begin as a copy of it before anything is computed.
    """

    beginning: _Beginning
    table: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    num_reserved: int = 0
    copy: tuple[int, int] | None = None


@dataclass(slots=True)
class _Block:
    num_users: int = 0
    identity: int = 0  # unique for ever, so that what followed an earlier content is never found
    beginning: _Beginning = ""
    tokens: tuple[int, ...] = ()  # empty unless others can find the block


class Blocks:
    """A pool of `num_blocks` blocks of `BLOCK_TOKENS` tokens."""

    def __init__(self, num_blocks: int) -> None:
        self._blocks = [_Block() for _ in range(num_blocks)]
        self._free = list(reversed(range(num_blocks)))  # taken from the end: memory is touched once it is needed
        self._idle: OrderedDict[int, None] = OrderedDict()  # unused, can be found; longest unused first
        self._known: dict[_Beginning, dict[tuple[int, ...], int]] = {}
        self._num_reserved = 0
        self._num_identities = 0

    @property
    def num_available(self) -> int:
        """Blocks that a new request may count on."""
        return len(self._free) + len(self._idle) - self._num_reserved

    def lease(self, prompt: Sequence[int], num_tokens: int, space: str = "") -> Lease | None:
        """Take blocks for a prompt with its answer, `num_tokens` together; None while there is no room.

        The lease holds what is known of the prompt, but not its last token, whose logits are wanted. Only prompts of
        one `space` share.
        """
        lease = Lease(space)
        piece = self._find(prompt[:-1], lease)
        num_fresh = -(-num_tokens // BLOCK_TOKENS) - len(lease.table)
        num_woken = sum(not self._blocks[block].num_users for block in lease.table)
        if num_fresh + num_woken > self.num_available:
            return None
        for block in lease.table:
            self._idle.pop(block, None)
            self._blocks[block].num_users += 1
        lease.num_reserved = num_fresh
        self._num_reserved += num_fresh
        if piece is not None:
            source, size = piece
            self._append(lease)
            lease.copy = (source, lease.table[-1])
            lease.tokens += prompt[len(lease.tokens) : len(lease.tokens) + size]
        return lease

    def grow(self, lease: Lease, tokens: Sequence[int]) -> None:
        """Give blocks to tokens whose keys and values are computed next."""
        for token in tokens:
            if len(lease.tokens) % BLOCK_TOKENS == 0:
                self._append(lease)
            lease.tokens.append(token)
            if len(lease.tokens) % BLOCK_TOKENS == 0:
                lease.beginning = self._remember(lease, BLOCK_TOKENS)

    def give_back(self, lease: Lease) -> None:
        """End a lease; what its blocks hold can be found until they are needed."""
        rest = len(lease.tokens) % BLOCK_TOKENS
        if rest:
            self._remember(lease, rest)
        self._num_reserved -= lease.num_reserved
        for block in reversed(lease.table):  # the beginning of a text is of more use than its end
            entry = self._blocks[block]
            entry.num_users -= 1
            if not entry.num_users and entry.tokens:
                self._idle[block] = None
            elif not entry.num_users:
                self._free.append(block)

    def _find(self, prompt: Sequence[int], lease: Lease) -> tuple[int, int] | None:
        """Put whole known blocks into a lease; return a block with a piece of what follows, and its size."""
        for start in range(0, len(prompt), BLOCK_TOKENS):
            known = self._known.get(lease.beginning, {})
            wanted = tuple(prompt[start : start + BLOCK_TOKENS])
            block = known.get(wanted)
            if block is None or len(wanted) < BLOCK_TOKENS:
                return _closest(known, wanted)
            lease.table.append(block)
            lease.tokens += wanted
            lease.beginning = self._blocks[block].identity
        return None

    def _append(self, lease: Lease) -> None:
        assert lease.num_reserved > 0
        block = self._free.pop() if self._free else self._forget()
        self._blocks[block] = _Block(num_users=1)
        lease.table.append(block)
        lease.num_reserved -= 1
        self._num_reserved -= 1

    def _forget(self) -> int:
        block, _ = self._idle.popitem(last=False)
        entry = self._blocks[block]
        family = self._known[entry.beginning]
        del family[entry.tokens]
        if not family:
            del self._known[entry.beginning]
        return block

    def _remember(self, lease: Lease, size: int) -> int:
        """Let others find the last block of a lease; return the identity of the first block with its content."""
        block, tokens = lease.table[-1], tuple(lease.tokens[-size:])
        first = self._blocks[self._known.setdefault(lease.beginning, {}).setdefault(tokens, block)]
        if first is self._blocks[block]:
            self._num_identities += 1
            first.identity, first.beginning, first.tokens = self._num_identities, lease.beginning, tokens
        return first.identity


def _closest(known: Mapping[tuple[int, ...], int], wanted: tuple[int, ...]) -> tuple[int, int] | None:
    """Return the block that shares the longest beginning with the wanted tokens, and its length."""
    best = max(((num_shared(tokens, wanted), -block) for tokens, block in known.items()), default=(0, 0))
    return (-best[1], best[0]) if best[0] >= PIECE_TOKENS_MIN else None
