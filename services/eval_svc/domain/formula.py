"""Arithmetic over named scores, read by Python's parser and computed here: nothing else of the language exists."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Final

from bessemer.kernel.errors import InvalidRequest

from eval_svc.config import FORMULA_CHARACTERS

__all__ = ["check_formula", "compute"]

_DEPTH = 64  # far from the end of Python's stack
_FIELD = "evaluation_suite.options.formula.expression"
_OPERATORS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: Final = {"min": min, "max": max}


def check_formula(expression: str, names: Collection[str]) -> None:
    """Refuse what cannot be computed from these names.

    Raises: InvalidRequest naming what is wrong.
    """
    tree = _parse(expression)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - set(_FUNCTIONS)
    if unknown := sorted(used - set(names)):
        raise InvalidRequest(
            f"the formula names {unknown[0]!r}; its parts are {', '.join(sorted(names)) or 'none'}", field=_FIELD
        )
    if idle := sorted(set(names) - used):
        raise InvalidRequest(f"the formula does not use its part {idle[0]!r}; remove it", field=_FIELD)
    try:
        _compute(tree.body, dict.fromkeys(names, 1.0), depth=_DEPTH, lenient=True)
    except OverflowError as error:
        raise InvalidRequest("the formula has a number beyond the largest float", field=_FIELD) from error


def compute(expression: str, scores: Mapping[str, float]) -> float:
    """Return the value of an expression that was checked.

    Raises: ArithmeticError if it divides by zero or has no finite value.
    """
    value = _compute(_parse(expression).body, scores, depth=_DEPTH)
    if not math.isfinite(value):
        raise ArithmeticError("the formula has no finite value")
    return value


def _parse(expression: str) -> ast.Expression:
    if not 0 < len(expression.strip()) <= FORMULA_CHARACTERS:
        raise InvalidRequest(f"the formula must have 1 to {FORMULA_CHARACTERS} characters", field=_FIELD)
    try:
        return ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InvalidRequest(f"the formula is not an expression: {error}", field=_FIELD) from error


def _compute(node: ast.expr, scores: Mapping[str, float], *, depth: int, lenient: bool = False) -> float:
    if depth == 0:
        raise InvalidRequest(f"the formula nests more than {_DEPTH} deep", field=_FIELD)
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.Name(id=name) if name in scores:
            return scores[name]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
            value = _compute(inner, scores, depth=depth - 1, lenient=lenient)
            return -value if isinstance(sign, ast.USub) else value
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as sign, right=right):
            above, below = (_compute(side, scores, depth=depth - 1, lenient=lenient) for side in (left, right))
            if isinstance(sign, ast.Div) and below == 0:
                if lenient:  # other scores may not be zero there
                    return 0.0
                raise ArithmeticError("the formula divides by zero")
            return _OPERATORS[type(sign)](above, below)
        case ast.Call(func=ast.Name(id="min" | "max" as name), args=[_, _, *_] as given, keywords=[]):
            return float(_FUNCTIONS[name](_compute(each, scores, depth=depth - 1, lenient=lenient) for each in given))
    raise InvalidRequest(
        f"a formula has numbers, scores, + - * /, parentheses, min and max; {type(node).__name__} is none of them",
        field=_FIELD,
    )
