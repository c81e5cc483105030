"""Answers and errors in the shapes that OpenAI's clients read. Source: the public API reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bessemer.kernel.errors import BessemerError, Internal
from bessemer.kernel.ids import new_uid
from bessemer.svckit import log

from serve_svc.app.inference import Part
from serve_svc.app.meter import Quota
from serve_svc.engine.protocol import Alternative, TokenLogprob

__all__ = ["Collected", "Shape", "error_body", "http_status", "known_error", "quota_headers"]

_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {
    "CONTEXT_TOO_LONG": "context_length_exceeded",
    "UNAUTHENTICATED": "invalid_api_key",
    "RATE_LIMITED": "rate_limit_exceeded",
}
# Where our name of a field is not the client's.
_FIELDS = {
    "sampling.constraint.json_schema": "response_format",
    "sampling.constraint": "response_format",
    "prompt": "messages",
}


@dataclass(slots=True)
class Collected:
    """One answer as far as it has come; `echo` are the tokens of the prompt before it."""

    response_id: str = ""
    text: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish: str = "length"

    def add(self, part: Part) -> None:
        """Take the next part."""
        self.response_id = part.response_id
        self.text += part.piece.text
        self.logprobs += part.piece.logprobs
        for delta in part.calls:
            if delta.index == len(self.calls):
                self.calls.append(_call(delta.id, delta.name, ""))
            self.calls[delta.index]["function"]["arguments"] += delta.arguments
        if part.piece.finish:
            self.finish = part.piece.finish
            self.prompt_tokens, self.completion_tokens = part.piece.prompt_tokens, part.piece.completion_tokens


@dataclass(slots=True)
class Shape:
    """Shapes the answers to one request; `logprobs` if they were asked for."""

    chat: bool
    model: str
    created_s: int
    num_choices: int = 1
    logprobs: bool = False
    id: str = ""
    _offsets: dict[int, int] = field(default_factory=dict)

    def whole(self, answers: Sequence[Collected]) -> dict[str, Any]:
        """Return all answers in one piece."""
        choices = []
        for index, answer in enumerate(answers):
            content: dict[str, Any] = {"text": answer.text}
            if self.chat:
                message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
                if answer.calls:
                    message |= {"content": answer.text or None, "tool_calls": answer.calls}
                content = {"message": message}
            logprobs = self._logprobs(index, answer.logprobs)
            choices.append({"index": index, **content, "logprobs": logprobs, "finish_reason": answer.finish})
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self._head(kind), "choices": choices, "usage": _usage(answers, self.num_choices)}

    def opening(self, index: int) -> list[dict[str, Any]]:
        """Return what comes before the first piece of an answer."""
        return [self._chunk(index, {"role": "assistant", "content": ""}, ())] if self.chat else []

    def pieces(self, index: int, part: Part) -> list[dict[str, Any]]:
        """Return the chunks of one piece."""
        chunks, logprobs = [], part.piece.logprobs
        if part.piece.text or (logprobs and not part.calls):
            chunks.append(self._chunk(index, {"content": part.piece.text}, logprobs))
            logprobs = ()
        for call in part.calls:
            started = {"id": call.id, "type": "function"} if call.id else {}
            function = {"name": call.name} if call.id else {}
            delta = {"index": call.index, **started, "function": {**function, "arguments": call.arguments}}
            chunks.append(self._chunk(index, {"tool_calls": [delta]}, logprobs))
            logprobs = ()
        if part.piece.finish:
            chunks.append(self._chunk(index, {}, (), part.piece.finish))
        return chunks

    def usage(self, answers: Sequence[Collected]) -> dict[str, Any]:
        """Return the chunk that only states the usage."""
        return {**self._head(self._chunk_kind), "choices": [], "usage": _usage(answers, self.num_choices)}

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _chunk(
        self, index: int, delta: Mapping[str, Any], logprobs: Sequence[TokenLogprob], finish: str | None = None
    ) -> dict[str, Any]:
        content = {"delta": delta} if self.chat else {"text": delta.get("content", "")}
        shaped = self._logprobs(index, logprobs) if logprobs else None
        choice = {"index": index, **content, "logprobs": shaped, "finish_reason": finish}
        return {**self._head(self._chunk_kind), "choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created_s, "model": self.model}

    def _logprobs(self, index: int, entries: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        if not self.logprobs:
            return None
        if self.chat:
            content = [
                _token(entry.hex, entry.logprob) | {"top_logprobs": [_token(o.hex, o.logprob) for o in entry.top]}
                for entry in entries
            ]
            return {"content": content, "refusal": None}
        offsets = []
        for entry in entries:
            offsets.append(self._offsets.get(index, 0))
            self._offsets[index] = offsets[-1] + len(_readable(entry.hex))
        return {
            "tokens": [_readable(entry.hex) for entry in entries],
            "token_logprobs": [entry.logprob for entry in entries],
            "top_logprobs": [None if entry.logprob is None else _top(entry.top) for entry in entries],
            "text_offset": offsets,
        }


def http_status(error: BessemerError) -> int:
    """Return the HTTP status of an error."""
    return _STATUS.get(error.code, 500)


def error_body(error: BessemerError) -> dict[str, Any]:
    """Return an error as OpenAI's clients expect it."""
    name, status = error.fields.get("field"), http_status(error)
    return {
        "error": {
            "message": error.message,
            "type": _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error"),
            "param": _FIELDS.get(name, name.removeprefix("sampling.").removeprefix("prompt.")) if name else None,
            "code": _CODES.get(error.reason, error.reason.lower()),
        }
    }


def known_error(error: Exception) -> BessemerError:
    """Return what a client may know of an error; the rest goes to the log."""
    if isinstance(error, BessemerError) and not isinstance(error, Internal):
        return error
    incident = new_uid()
    log.error("http_defect", exc=error, incident=incident)
    return Internal(f"the server has a defect; tell its operator incident {incident}", incident=incident)


def quota_headers(quota: Quota) -> dict[str, str]:
    """Return what is left of a key's minute as OpenAI's API tells it."""
    headers = {}
    for name, bucket in (("requests", quota.requests), ("tokens", quota.tokens)):
        if bucket.capacity:
            headers[f"x-ratelimit-limit-{name}"] = str(bucket.capacity)
            headers[f"x-ratelimit-remaining-{name}"] = str(max(0, math.floor(bucket.level)))
            headers[f"x-ratelimit-reset-{name}"] = f"{max(0.0, bucket.reset_s):.3f}s"
    return headers


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _token(token_hex: str, logprob: float | None) -> dict[str, Any]:
    return {"token": _readable(token_hex), "logprob": logprob, "bytes": list(bytes.fromhex(token_hex))}


def _top(alternatives: Iterable[Alternative]) -> dict[str, float]:
    return {_readable(other.hex): other.logprob for other in alternatives}


def _readable(token_hex: str) -> str:
    return bytes.fromhex(token_hex).decode(errors="replace")


def _usage(answers: Sequence[Collected], num_choices: int) -> dict[str, int]:
    prompt = sum(answer.prompt_tokens for answer in answers[::num_choices])  # the choices of one prompt share it
    completion = sum(answer.completion_tokens for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
