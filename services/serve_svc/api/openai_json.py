"""Requests and answers in the shapes of OpenAI's API, as far as a text model can honour them.

What would change the answer and is not supported is refused, never dropped; what only concerns OpenAI's platform is
ignored. Source: the public API reference of chat completions, completions and models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bessemer.api.serve.v1 import inference_service_pb2 as api
from bessemer.kernel.errors import BessemerError, InvalidRequest

from serve_svc.app.inference import Part

__all__ = ["Ask", "Shape", "error_body", "http_status", "read_ask"]

# Of the platform, not of the answer.
_IGNORED = frozenset({"metadata", "store", "service_tier", "prompt_cache_key", "parallel_tool_calls"})
# Understood only when it asks for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "logprobs": (False,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "suffix": ("",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
}
_SAMPLING = ("max_tokens", "temperature", "top_p", "top_k", "seed")
# Who asks, newest name first: requests of one user go to one deployment.
_USER = ("safety_identifier", "user")
_KNOWN = frozenset({"model", "stream", "stream_options", "stop", "max_completion_tokens", *_SAMPLING, *_USER})
_ROLES = {"developer": "system"}
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
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {
    "CONTEXT_TOO_LONG": "context_length_exceeded",
    "UNAUTHENTICATED": "invalid_api_key",
    "RATE_LIMITED": "rate_limit_exceeded",
}
_FINISH = {"stop": "stop", "length": "length"}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that was understood; `model` is as the client wrote it."""

    model: str
    request: api.StreamGenerateRequest
    stream: bool
    include_usage: bool


def read_ask(body: object, *, chat: bool) -> Ask:
    """Read the body of a completion request; its target is set later.

    Raises: InvalidRequest naming the parameter.
    """
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object")
    values = {key: value for key, value in body.items() if value is not None}
    for key, value in values.items():
        if key in _NEUTRAL and value not in _NEUTRAL[key]:
            raise _unsupported(key, f"only {_NEUTRAL[key][0]!r} is supported")
        if key not in _KNOWN | _IGNORED | _NEUTRAL.keys() | {"messages" if chat else "prompt"}:
            raise _unsupported(key, "this parameter is not supported")
    model = _text(values, "model")
    options = values.get("stream_options", {})
    if not isinstance(options, dict):
        raise InvalidRequest("stream_options must be an object", field="stream_options")
    request = api.StreamGenerateRequest(prompt=_chat(values) if chat else _completion(values))
    _set_sampling(request.sampling, values)
    request.user = next((_text(values, key) for key in _USER if values.get(key)), "")
    return Ask(model, request, values.get("stream") is True, options.get("include_usage") is True)


@dataclass(frozen=True, slots=True)
class Shape:
    """Shapes the answers to one request."""

    chat: bool
    model: str
    created_s: int

    def whole(self, text: str, last: Part) -> dict[str, Any]:
        """Return an answer in one piece."""
        message = {"message": {"role": "assistant", "content": text, "refusal": None}} if self.chat else {"text": text}
        choice = {"index": 0, **message, "logprobs": None, "finish_reason": _FINISH[last.piece.finish]}
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self._head(last.response_id, kind), "choices": [choice], "usage": _usage(last)}

    def opening(self, part: Part) -> list[dict[str, Any]]:
        """Return what comes before the first piece."""
        return [self._chunk(part, {"role": "assistant", "content": ""}, None)] if self.chat else []

    def pieces(self, part: Part) -> list[dict[str, Any]]:
        """Return the chunks of one piece."""
        chunks = []
        if part.piece.text:
            chunks.append(self._chunk(part, {"content": part.piece.text}, None))
        if part.piece.finish:
            chunks.append(self._chunk(part, {}, _FINISH[part.piece.finish]))
        return chunks

    def usage(self, last: Part) -> dict[str, Any]:
        """Return the chunk that only states the usage."""
        return {**self._head(last.response_id, self._chunk_kind), "choices": [], "usage": _usage(last)}

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _chunk(self, part: Part, delta: Mapping[str, str], finish: str | None) -> dict[str, Any]:
        content = {"delta": delta} if self.chat else {"text": delta.get("content", "")}
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": finish}
        return {**self._head(part.response_id, self._chunk_kind), "choices": [choice]}

    def _head(self, response_id: str, kind: str) -> dict[str, Any]:
        return {"id": response_id, "object": kind, "created": self.created_s, "model": self.model}


def http_status(error: BessemerError) -> int:
    """Return the HTTP status of an error."""
    return _STATUS.get(error.code, 500)


def error_body(error: BessemerError) -> dict[str, Any]:
    """Return an error as OpenAI's clients expect it."""
    field = error.fields.get("field")
    return {
        "error": {
            "message": error.message,
            "type": _TYPES.get(
                http_status(error), "invalid_request_error" if http_status(error) < 500 else "api_error"
            ),
            "param": field.removeprefix("sampling.") if field else None,
            "code": _CODES.get(error.reason, error.reason.lower()),
        }
    }


def _chat(values: Mapping[str, Any]) -> api.Prompt:
    messages = values.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages must be a list of at least one message", field="messages")
    prompt = api.Prompt()
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if not isinstance(message, dict):
            raise InvalidRequest(f"{path} must be an object", field=path)
        role = _text(message, "role", path)
        prompt.messages.add(role=_ROLES.get(role, role), content=_content(message.get("content"), f"{path}.content"))
    return prompt


def _content(content: object, path: str) -> str:
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for part in content if isinstance(content, list) else [None]:
        text = part.get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            raise InvalidRequest(f"{path} must be text, or a list of parts of type text", field=path)
        texts.append(text)
    return "".join(texts)


def _completion(values: Mapping[str, Any]) -> api.Prompt:
    prompt = values.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise InvalidRequest("prompt must be one text; send several prompts as several requests", field="prompt")
    return api.Prompt(text=prompt)


def _set_sampling(sampling: api.SamplingParams, values: Mapping[str, Any]) -> None:
    given = dict(values)
    if "max_completion_tokens" in given:
        given["max_tokens"] = given["max_completion_tokens"]
    for key in _SAMPLING:
        value = given.get(key)
        if value is None:
            continue
        try:
            setattr(sampling, key, value)
        except (TypeError, ValueError):
            raise InvalidRequest(f"{key} must be a number in range; got {str(value)[:80]!r}", field=key) from None
    stop = given.get("stop", [])
    stop = [stop] if isinstance(stop, str) else stop
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise InvalidRequest("stop must be a text or a list of texts", field="stop")
    sampling.stop.extend(stop)


def _text(values: Mapping[str, Any], key: str, path: str = "") -> str:
    value = values.get(key)
    field = f"{path}.{key}" if path else key
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"{field} must be a text", field=field)
    return value


def _unsupported(key: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{key}: {rule} by this server; leave it out", field=key)


def _usage(last: Part) -> dict[str, int]:
    prompt, completion = last.piece.prompt_tokens, last.piece.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
