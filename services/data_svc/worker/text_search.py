"""Where bytes of ASCII stand in a text, whatever their case: a filter in front of an exact comparison."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from numba import njit

from data_svc.domain.erasure import SEPARATORS, Identifier

__all__ = ["lines_with"]

_LANES = 512  # bytes that are compared at once before any of them is looked at
_RAREST_LAST = b" etaoinsrhldcumpfgyb.-vw/_k0123456789,:()'jxqz@"  # by how often they occur in text
Bytes = npt.NDArray[np.uint8]


def lines_with(block: bytes, identifier: Identifier) -> Iterator[tuple[int, int]]:
    """Yield start and end of each line that may hold an identifier; none that holds it is missed."""
    anchor, data = identifier.anchor.lower(), np.frombuffer(block, np.uint8)
    if anchor:
        places = _rare_places(anchor, one=identifier.is_phone)
        found = _find(data, np.frombuffer(anchor, np.uint8), places, _skipped(identifier))
    else:
        found = np.concatenate(([0], np.flatnonzero(data == ord("\n")) + 1))
    end = 0
    for at in found.tolist():
        if end <= at < len(block):
            start, end = block.rfind(b"\n", 0, at) + 1, block.find(b"\n", at) + 1 or len(block)
            yield start, end


def _skipped(identifier: Identifier) -> Bytes:
    """Return which bytes may stand between digits, as JSON writes them: a line end is a backslash and an n."""
    table = np.zeros(256, np.uint8)
    if identifier.is_phone:
        table[[*SEPARATORS.encode(), *b"\\nt"]] = 1
    return table


def _rare_places(needle: bytes, *, one: bool) -> tuple[int, int]:
    """Return the places of the two bytes that text holds least often."""
    if one or len(needle) < 2:
        return 0, 0
    ranks = [_RAREST_LAST.find(bytes([byte])) for byte in needle]
    order = sorted(range(len(needle)), key=lambda at: -(ranks[at] if ranks[at] >= 0 else len(_RAREST_LAST)))
    return order[0], order[1]


@njit(cache=True, nogil=True)
def _find(data, needle, places, skipped):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return where lower-case `needle` begins, its letters in any case, in order.

    Bytes marked in `skipped` [256] may stand between those of the needle. The two bytes of the needle at `places` are
    looked for in many lanes at once; both must be the first if anything may be skipped.
    """
    first, second = places
    one, two = needle[first], needle[second]
    fold_one = np.uint8(32) if 97 <= one <= 122 else np.uint8(0)
    fold_two = np.uint8(32) if 97 <= two <= 122 else np.uint8(0)
    found, count = np.empty(256, np.int64), 0
    last = len(data) - len(needle) + 1
    for begin in range(0, last, _LANES):
        width = min(_LANES, last - begin)
        ones, twos = data[begin + first : begin + first + width], data[begin + second : begin + second + width]
        least = np.uint8(255)  # of differences: a minimum compiles to the widest registers, a logical or does not
        for at in range(width):
            difference = np.uint8(np.uint8(ones[at] | fold_one) ^ one)
            least = min(least, np.uint8(difference | np.uint8(np.uint8(twos[at] | fold_two) ^ two)))
        if least:
            continue
        for at in range(width):
            if (ones[at] | fold_one) == one and _stands(data, needle, begin + at, skipped):
                if count == len(found):
                    found = np.concatenate((found, found))
                found[count] = begin + at
                count += 1
    return found[:count]


@njit(cache=True, nogil=True)
def _stands(data, needle, at, skipped):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    place = 0
    while at < len(data):
        byte = data[at]
        if 65 <= byte <= 90:
            byte |= 32
        if byte == needle[place]:
            place += 1
            if place == len(needle):
                return True
        elif place == 0 or not skipped[byte]:
            return False
        at += 1
    return False
