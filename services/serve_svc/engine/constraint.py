"""Answers that must have a form: schemas, expressions and grammars, compiled once and kept by their digest.

A matcher says which tokens may come next; it knows tokens and bytes only, so any engine can use it.
Source: llguidance (derivatives of expressions below, an Earley parser above, one mask over the vocabulary per token).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import jsonschema
import numpy as np
from bessemer.kernel.errors import InvalidRequest
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from numpy.typing import NDArray

from serve_svc.engine import tools as calls
from serve_svc.engine.protocol import Constraint, Tool

__all__ = ["Grammars", "Matcher"]

_KEPT = 64  # compiled grammars; a large one takes some megabytes
_SIZE_MAX = 256 << 10  # bytes of a schema or grammar
_STYLE: Any = calls.JSON_STYLE
# Work of one mask is bounded to some 20 ms by the library's own limits; these bound compiling to some 100 ms.
_LIMITS = LLParserLimits(initial_lexer_fuel=2_000_000, max_grammar_size=200_000, verbose_errors=False)


class Matcher:
    """Follows one answer through its grammar."""

    def __init__(self, matcher: LLMatcher, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size

    def allowed(self) -> NDArray[np.bool_]:
        """Return which tokens may come next, [V]; the ends of an answer among them where it may end.

        Raises: InvalidRequest if the grammar turns out too complex here.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        return np.unpackbits(bits, count=self._vocab_size, bitorder="little").astype(bool)

    def consume(self, token: int) -> bool:
        """Take the token that was chosen and say whether the answer is complete and cannot go on.

        Raises: InvalidRequest if the grammar turns out too complex here.
        """
        self._matcher.consume_token(token)
        self._check()
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise InvalidRequest(
                f"the constraint is too complex to follow: {self._matcher.get_error()[:400]}; make it simpler",
                field="sampling.constraint",
            )


class Grammars:
    """Compiles constraints for one tokenizer; `marker_ids` are those of `tools.MARKERS` that are special tokens."""

    def __init__(
        self,
        tokenizer_json: str,
        *,
        vocab_size: int,
        eos_ids: Collection[int],
        tool_format: str,
        marker_ids: Mapping[str, int],
    ) -> None:
        self._tokenizer_json = tokenizer_json
        self._vocab_size = vocab_size
        self._eos_ids = sorted(eos_ids)
        self._tool_format = tool_format
        self._tokenizer: LLTokenizer | None = None
        self._marker_ids = marker_ids
        self._compiled: OrderedDict[bytes, LLMatcher] = OrderedDict()
        self.num_compiled = 0

    def matcher(self, constraint: Constraint, tools: Sequence[Tool] = ()) -> Matcher:
        """Return a fresh matcher.

        Raises: InvalidRequest naming the spot of what cannot be compiled.
        """
        key = hashlib.sha256(repr((constraint, tuple(tools))).encode()).digest()
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = self._compile(constraint, tools)
            self.num_compiled += 1
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return Matcher(compiled.deep_copy(), self._vocab_size)

    def _compile(self, constraint: Constraint, tools: Sequence[Tool]) -> LLMatcher:
        tokenizer = self._loaded()
        grammar = self._grammar(constraint, tools)
        matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=_LIMITS)
        if matcher.is_error():
            raise _refusal(constraint, tools, matcher.get_error())
        return matcher

    def _grammar(self, constraint: Constraint, tools: Sequence[Tool]) -> str:
        kind, value = constraint.kind, constraint.value
        field = f"sampling.constraint.{kind}"
        if len(value) > _SIZE_MAX:
            raise InvalidRequest(f"{field} may have at most {_SIZE_MAX} characters; got {len(value)}", field=field)
        if kind == "json_schema":
            schema = _checked_schema(value, field)
            return LLMatcher.grammar_from_json_schema(schema, overrides=_STYLE)
        if kind == "json_object":
            return LLMatcher.grammar_from_json_schema({"type": "object"}, overrides=_STYLE)
        if kind == "regex":
            return LLMatcher.grammar_from_regex(value)
        if kind == "choices":
            choices = "|".join(json.dumps(choice) for choice in json.loads(value))
            return LLMatcher.grammar_from_lark(f"start: {choices}")
        if kind == "tool_calls":
            wish = json.loads(value)
            wanted = [tool for tool in tools if tool.name in wish["names"]]
            for tool in wanted:
                _checked_schema(calls.parameters(tool), f"prompt.tools[{tools.index(tool)}].parameters")
            text = calls.grammar(
                self._tool_format,
                wanted,
                parallel=wish["parallel"],
                optional=wish["optional"],
                marker_ids=self._marker_ids,
            )
            return LLMatcher.grammar_from_lark(text)
        return LLMatcher.grammar_from_lark(value)

    def _loaded(self) -> LLTokenizer:
        if self._tokenizer is None:  # half a second for a large vocabulary, which few deployments need
            self._tokenizer = LLTokenizer(self._tokenizer_json, n_vocab=self._vocab_size, eos_token=self._eos_ids)
        return self._tokenizer


def _checked_schema(text: str, field: str) -> dict[str, Any]:
    """Return a schema that is one.

    Raises: InvalidRequest naming the spot.
    """
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{field} is not JSON: {error}", field=field) from None
    if not isinstance(schema, dict):
        raise InvalidRequest(f"{field} must be an object", field=field)
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        spot = error.json_path
        raise InvalidRequest(
            f"{field} is no JSON schema: {error.message[:300]}, at {spot}", field=field, spot=spot
        ) from None
    except RecursionError:
        raise InvalidRequest(f"{field} is nested too deeply", field=field) from None
    return schema


def _refusal(constraint: Constraint, tools: Sequence[Tool], message: str) -> InvalidRequest:
    field, message = f"sampling.constraint.{constraint.kind}", message.strip()[:600]
    if constraint.kind == "json_schema":
        roots = [json.loads(constraint.value)]
    elif constraint.kind == "tool_calls":
        roots, field = [json.loads(tool.parameters) for tool in tools], "prompt.tools"
    else:
        return InvalidRequest(f"{field} cannot be compiled: {message}", field=field)
    words = re.findall(r"[\"']([^\"']+)[\"']", message)
    spots = [spot for root in roots for spot in _spots(root, "$", words)]
    where = f", at {spots[0]}" if spots else ""
    return InvalidRequest(
        f"{field} cannot be followed: {message}{where}; leave out what is not supported",
        field=field,
        **({"spot": spots[0]} if spots else {}),
    )


def _spots(value: object, path: str, words: Sequence[str]) -> Iterator[str]:
    """Yield where a schema has a key or a text that a message quotes."""
    if isinstance(value, dict):
        for key, inner in value.items():
            here = f"{path}.{key}"
            if key in words or (isinstance(inner, str) and inner.lstrip("#") in words):
                yield here
            yield from _spots(inner, here, words)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _spots(inner, f"{path}[{index}]", words)
