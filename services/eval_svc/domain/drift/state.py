"""The bytes of a monitor: one line of JSON, then its arrays one after the other."""

from __future__ import annotations

import json
import sys
from array import array
from typing import Any, TypeAlias

__all__ = ["Tree", "pack", "unpack"]

Tree: TypeAlias = dict[str, Any]  # texts, numbers, lists, trees and arrays


def pack(tree: Tree) -> bytes:
    """Return a tree as bytes, little-endian."""
    arrays: list[array[Any]] = []
    head = json.dumps(_strip(tree, arrays), separators=(",", ":")).encode()
    return head + b"\n" + b"".join(_little(one).tobytes() for one in arrays)


def unpack(data: bytes) -> Tree:
    """Return the tree of `pack`."""
    head, _, rest = data.partition(b"\n")
    tree: Tree = _fill(json.loads(head), memoryview(rest), [0])
    return tree


def _strip(value: Any, arrays: list[array[Any]]) -> Any:
    if isinstance(value, array):
        arrays.append(value)
        return {"$": value.typecode, "n": len(value)}
    if isinstance(value, dict):
        return {key: _strip(one, arrays) for key, one in value.items()}
    return [_strip(one, arrays) for one in value] if isinstance(value, list) else value


def _fill(value: Any, rest: memoryview, at: list[int]) -> Any:
    if isinstance(value, dict) and "$" in value:
        found: array[Any] = array(value["$"])
        size = value["n"] * found.itemsize
        found.frombytes(rest[at[0] : at[0] + size])
        at[0] += size
        return _little(found)
    if isinstance(value, dict):
        return {key: _fill(one, rest, at) for key, one in value.items()}
    return [_fill(one, rest, at) for one in value] if isinstance(value, list) else value


def _little(one: array[Any]) -> array[Any]:
    if sys.byteorder == "little":
        return one
    swapped = array(one.typecode, one)
    swapped.byteswap()
    return swapped
