"""What an engine is asked, as OpenAI's API says it, and what its events mean. Pure; the HTTP is elsewhere.

Source: OpenAI's public reference of chat completions, completions and embeddings; the names beyond it as vLLM's and
llama.cpp's servers document them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bessemer.kernel.errors import Unimplemented

from serve_svc.engine.protocol import Alternative, Constraint, Piece, Prompt, Sampling, TokenLogprob, Tool, Turn
from serve_svc.engine.tools import FORMATS

__all__ = ["ANSWER_TOKENS_DEFAULT", "TOOL_FORMAT", "Reading", "request_of"]

ANSWER_TOKENS_DEFAULT = 256  # as SamplingParams.max_tokens promises
TOOL_FORMAT = "hermes"  # how calls are written into the text of pieces, whatever the server's model does
UNKNOWN_TOKEN = -1  # servers name tokens by their text
# Beyond OpenAI's API; servers that are not known to take them are only told what is asked for. Without being told,
# llama.cpp keeps the 40 likeliest tokens, and vLLM does what a file of the model says.
_NEUTRAL = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
_OWN_NAMES: Mapping[str, Mapping[str, str]] = {
    "vllm": {},
    "sglang": {},
    "llamacpp": {"repetition_penalty": "repeat_penalty"},
}


def request_of(model: str, owner: str, prompt: Prompt, sampling: Sampling) -> tuple[str, dict[str, Any]]:
    """Return path and body of the request for a streamed answer; `owner` is what the server says it is.

    Raises: Unimplemented for a constraint that OpenAI's API cannot express.
    """
    body: dict[str, Any] = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    body |= _sampling(sampling, owner)
    if sampling.constraint is not None:
        body |= _constrained(sampling.constraint, bool(prompt.turns))
    if not prompt.turns:
        logprobs = {} if sampling.logprobs is None else {"logprobs": sampling.logprobs}
        return "completions", body | {"prompt": prompt.text} | logprobs
    if sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    if prompt.tools:
        strict = sampling.constraint is not None and sampling.constraint.kind == "tool_calls"
        body["tools"] = [_tool(tool, strict=strict) for tool in prompt.tools]
    return "chat/completions", body | {"messages": [_message(turn) for turn in prompt.turns]}


@dataclass
class Reading:
    """Reads the events of a stream into pieces."""

    id: str
    finish: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    _pieces: int = 0
    _calls: dict[int, dict[str, str]] = field(default_factory=dict)

    def take(self, event: Mapping[str, Any]) -> Piece | None:
        """Return what an event adds to the answer, or None; `finish` is set once the server has said why it ended."""
        if usage := event.get("usage"):
            self.prompt_tokens = usage.get("prompt_tokens", 0)
            self.completion_tokens = usage.get("completion_tokens", 0)
        choices = event.get("choices") or [{}]
        delta = choices[0].get("delta") or {}
        for call in delta.get("tool_calls") or ():
            self._add_call(call)
        if reason := choices[0].get("finish_reason"):
            self.finish = "length" if reason == "length" else "stop"
        text = delta.get("content") or choices[0].get("text") or ""
        logprobs = _logprobs(choices[0].get("logprobs") or {})
        if not text and not logprobs:
            return None
        self._pieces += 1
        return Piece(self.id, text, (), logprobs=logprobs)

    def last(self, finish: str = "") -> Piece:
        """Return the last piece: calls of tools, and what it all took."""
        form = FORMATS[TOOL_FORMAT]
        calls = [f"{form.before}{_call_text(call)}{form.after}" for _, call in sorted(self._calls.items())]
        tokens = self.completion_tokens or self._pieces  # nearly every event is one token
        return Piece(self.id, form.joint.join(calls), (), finish or self.finish, self.prompt_tokens, tokens)

    def _add_call(self, delta: Mapping[str, Any]) -> None:
        call = self._calls.setdefault(delta.get("index", 0), {"name": "", "arguments": ""})
        function = delta.get("function") or {}
        call["name"] += function.get("name") or ""
        call["arguments"] += function.get("arguments") or ""


def _sampling(sampling: Sampling, owner: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "max_tokens": sampling.max_tokens or ANSWER_TOKENS_DEFAULT,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    for name in ("frequency_penalty", "presence_penalty"):
        if value := getattr(sampling, name):
            body[name] = value
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias}
    names = _OWN_NAMES.get(owner)
    for name, neutral in _NEUTRAL.items():
        value = getattr(sampling, name)
        if names is not None or value != neutral:
            body[(names or {}).get(name, name)] = value
    return body


def _constrained(constraint: Constraint, chat: bool) -> dict[str, Any]:  # noqa: FBT001
    match constraint.kind:
        case "json_schema" if chat:
            schema = {"name": "answer", "schema": json.loads(constraint.value), "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        case "json_object" if chat:
            return {"response_format": {"type": "json_object"}}
        case "tool_calls":
            wanted = json.loads(constraint.value)
            named = {"type": "function", "function": {"name": wanted["names"][0]}}
            choice = "auto" if wanted["optional"] else named if len(wanted["names"]) == 1 else "required"
            return {"tool_choice": choice, "parallel_tool_calls": wanted["parallel"]}
    raise Unimplemented(
        f"this endpoint's inference server takes no constraint of kind {constraint.kind} here; ask for a JSON schema "
        "in a conversation, or an endpoint with an engine of ours",
        field="sampling.constraint",
    )


def _message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in turn.tool_calls
        ]
    if turn.tool_call_id:
        message["tool_call_id"] = turn.tool_call_id
    if turn.name:
        message["name"] = turn.name
    return message


def _tool(tool: Tool, *, strict: bool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": json.loads(tool.parameters)}
    if tool.description:
        function["description"] = tool.description
    if strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _call_text(call: Mapping[str, str]) -> str:
    try:
        arguments = json.loads(call["arguments"] or "{}")
    except ValueError:
        arguments = None
    # Arguments that are no object are a defect of the server's model; as text somebody sees them.
    body = json.dumps(arguments, ensure_ascii=False) if isinstance(arguments, dict) else call["arguments"]
    return f'{{"name": {json.dumps(call["name"])}, "arguments": {body}}}'


def _logprobs(found: Mapping[str, Any]) -> tuple[TokenLogprob, ...]:
    """Read the form of chats, or that of completions, which knows texts only."""
    if content := found.get("content"):
        return tuple(
            TokenLogprob(
                one.get("id", UNKNOWN_TOKEN),
                _hex(one),
                one["logprob"],
                tuple(Alternative(top.get("id", UNKNOWN_TOKEN), _hex(top), top["logprob"]) for top in _top(one)),
            )
            for one in content
        )
    tokens, values = found.get("tokens") or (), found.get("token_logprobs") or ()
    tops: Sequence[Mapping[str, float]] = found.get("top_logprobs") or [{} for _ in tokens]
    return tuple(
        TokenLogprob(
            UNKNOWN_TOKEN,
            token.encode().hex(),
            value,
            tuple(Alternative(UNKNOWN_TOKEN, text.encode().hex(), logprob) for text, logprob in (top or {}).items()),
        )
        for token, value, top in zip(tokens, values, tops, strict=False)
    )


def _top(one: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return one.get("top_logprobs") or ()


def _hex(one: Mapping[str, Any]) -> str:
    return bytes(one["bytes"]).hex() if one.get("bytes") else str(one.get("token", "")).encode().hex()
