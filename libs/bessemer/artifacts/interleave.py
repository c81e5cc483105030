"""An order in which sources take turns: every prefix holds each in nearly its share, and any place is found at once.

Sources are the leaves of a Huffman tree over their counts (Huffman 1952). At each inner node of c rows, of which l
belong to its left child, the first g rows hold floor(g l / c + 1/2) of the left child (a Beatty sequence), so that one
walk from the root finds a place. A node is at most half a row off its share of its parent. Along a path of a Huffman
tree counts grow at least like the Fibonacci numbers, so these errors add up to less than 1.7 rows, however many sources
there are.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Interleave"]


@dataclass(frozen=True, slots=True)
class _Node:
    """Two groups of sources that take turns; `left` and `total` count rows."""

    left: int
    total: int
    children: tuple[_Tree, _Tree]

    def left_before(self, place: int) -> int:
        """Return how many of the first `place` rows belong to the left child."""
        return (2 * place * self.left + self.total) // (2 * self.total)


_Tree: TypeAlias = "_Node | int"  # a leaf is the number of a source


class Interleave:
    """The order of `counts[i]` rows of each source i; plain integers, the same on every machine."""

    def __init__(self, counts: Sequence[int]) -> None:
        self._length = sum(counts)
        self._root = _build(counts)

    def __len__(self) -> int:
        return self._length

    def at(self, place: int) -> tuple[int, int]:
        """Return the source whose turn it is at `place`, and how many rows it gave before.

        Raises: IndexError outside 0 to the length.
        """
        if not 0 <= place < self._length:
            raise IndexError(f"row {place} of {self._length}")
        tree = self._root
        while isinstance(tree, _Node):
            before = tree.left_before(place)
            if tree.left_before(place + 1) > before:
                tree, place = tree.children[0], before
            else:
                tree, place = tree.children[1], place - before
        return tree, place


def _build(counts: Sequence[int]) -> _Tree:
    """Return the Huffman tree of the sources that have rows; of equal ones the smaller number begins."""
    heap: list[tuple[int, int, _Tree]] = [(count, -source, source) for source, count in enumerate(counts) if count]
    heapq.heapify(heap)
    number = len(counts)
    while len(heap) > 1:
        first, _, light = heapq.heappop(heap)
        second, _, heavy = heapq.heappop(heap)
        heapq.heappush(heap, (first + second, -number, _Node(second, first + second, (heavy, light))))
        number += 1
    return heap[0][2] if heap else 0
