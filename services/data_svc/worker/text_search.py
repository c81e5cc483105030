"""Where bytes of ASCII stand in a text, whatever their case: a filter in front of an exact comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from data_svc.domain.erasure import SEPARATORS, Identifier

__all__ = ["lines_with", "stands_at", "values_of"]

_LANES, _FEW = 512, 64  # bytes that are compared at once before fewer, and before any of them, are looked at
_RAREST_LAST = b" etaoinsrhldcumpfgyb.-vw/_k0123456789,:()'jxqz@"  # by how often they occur in text
Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


def lines_with(block: bytes, identifier: Identifier) -> Iterator[tuple[int, int]]:
    """Yield start and end of each line that may hold an identifier; none that holds it is missed."""
    anchor = identifier.anchor.lower()
    if anchor:
        found = _find(block, anchor, _rare_places(anchor, one=identifier.is_phone), _skipped(identifier)).tolist()
    else:
        found = [0, *(np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1).tolist()]
    end = 0
    for at in found:
        if end <= at < len(block):
            start, end = block.rfind(b"\n", 0, at) + 1, block.find(b"\n", at) + 1 or len(block)
            yield start, end


def values_of(block: bytes, name: str) -> Places:
    """Return where the strings begin that records of JSON Lines have under a name, after the quote."""
    written = f'"{name}":"'.encode()  # in a string of JSON every quote is behind a backslash
    return _find(block, written, (1, 0), np.zeros(256, np.uint8)) + len(written)


def stands_at(block: bytes, places: Places, expected: Sequence[bytes]) -> npt.NDArray[np.bool_]:
    """Return at which places [N] one of some bytes of equal length stand."""
    data, width = np.frombuffer(block, np.uint8), len(expected[0])
    found, inside = np.zeros(len(places), np.bool_), places + width <= len(data)
    if inside.any():
        windows = np.lib.stride_tricks.sliding_window_view(data, width)[places[inside]]
        found[inside] = np.isin(
            np.ascontiguousarray(windows).view(f"S{width}").ravel(), np.array(expected, f"S{width}")
        )
    return found


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


def _find(block: bytes, needle: bytes, places: tuple[int, int], skipped: Bytes) -> Places:
    """Return where lower-case `needle` begins, its letters in any case, in order.

    Bytes marked in `skipped` [256] may stand between those of the needle. The two bytes of the needle at `places` are
    looked for in many lanes at once; both must be the first if anything may be skipped.
    """
    found: Places = _find_all(np.frombuffer(block, np.uint8), np.frombuffer(needle, np.uint8), places, skipped)
    return found


@njit(cache=True, nogil=True)
def _find_all(data, needle, places, skipped):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    first, second = places
    one, two = needle[first], needle[second]
    fold_one = np.uint8(32) if 97 <= one <= 122 else np.uint8(0)
    fold_two = np.uint8(32) if 97 <= two <= 122 else np.uint8(0)
    found, count = np.empty(256, np.int64), 0
    last = len(data) - len(needle) + 1
    for begin in range(0, last, _LANES):
        many = min(begin + _LANES, last)
        if not _may_stand(
            data[begin + first : many + first], data[begin + second : many + second], one, two, fold_one, fold_two
        ):
            continue
        for part in range(begin, many, _FEW):
            end = min(part + _FEW, many)
            ones, twos = data[part + first : end + first], data[part + second : end + second]
            if not _may_stand(ones, twos, one, two, fold_one, fold_two):
                continue
            for at in range(end - part):
                if (ones[at] | fold_one) == one and _stands(data, needle, part + at, skipped):
                    if count == len(found):
                        found = np.concatenate((found, found))
                    found[count] = part + at
                    count += 1
    return found[:count]


@njit(cache=True, nogil=True, inline="always")
def _may_stand(ones, twos, one, two, fold_one, fold_two):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Say whether the two bytes stand anywhere; a minimum of differences compiles to the widest registers."""
    least = np.uint8(255)
    for at in range(len(ones)):
        least = min(
            least,
            np.uint8(np.uint8(np.uint8(ones[at] | fold_one) ^ one) | np.uint8(np.uint8(twos[at] | fold_two) ^ two)),
        )
    return least == 0


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
