"""Loads and stores at addresses in compiled code, for kernels whose helpers must not count references to arrays.

An array that reaches a compiled function inside a tuple costs an atomic operation each time it is taken out; an address
costs none. Nothing is checked: the caller keeps the arrays alive and stays inside them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["load_byte", "load_number", "load_word", "store_number", "store_word", "trailing_zeros"]

_BYTE, _NUMBER, _WORD = ir.IntType(8), ir.IntType(32), ir.IntType(64)


def _intrinsic(function: Callable[..., Any]) -> Any:
    return intrinsic(function)  # called from compiled code it lacks its first argument, which no type can say


def _pointer(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


@_intrinsic
def load_byte(_context: Any, address: Any) -> Any:
    """Return the byte at an address."""

    def generate(_context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        return builder.zext(builder.load(_pointer(builder, given[0], _BYTE)), _WORD)

    return types.int64(address), generate


@_intrinsic
def load_number(_context: Any, address: Any) -> Any:
    """Return the int32 at an address."""

    def generate(_context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        return builder.sext(builder.load(_pointer(builder, given[0], _NUMBER)), _WORD)

    return types.int64(address), generate


@_intrinsic
def load_word(_context: Any, address: Any) -> Any:
    """Return the eight bytes from an address on, the first lowest."""

    def generate(_context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        return builder.load(_pointer(builder, given[0], _WORD), align=1)

    return types.uint64(address), generate


@_intrinsic
def store_number(_context: Any, address: Any, value: Any) -> Any:
    """Store the lower half of an integer of 64 bits as int32."""

    def generate(context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        builder.store(builder.trunc(given[1], _NUMBER), _pointer(builder, given[0], _NUMBER))
        return context.get_dummy_value()

    return types.void(address, value), generate


@_intrinsic
def store_word(_context: Any, address: Any, value: Any) -> Any:
    """Store an integer of 64 bits."""

    def generate(context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        builder.store(given[1], _pointer(builder, given[0], _WORD))
        return context.get_dummy_value()

    return types.void(address, value), generate


@_intrinsic
def trailing_zeros(_context: Any, _value: Any) -> Any:
    """Return the number of zeros below the lowest bit that is set, 64 for 0."""

    def generate(_context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        return builder.cttz(given[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate
