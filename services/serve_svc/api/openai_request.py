"""Bodies of requests as OpenAI's clients send them, as far as a text model can honour them.

What would change the answer and is not supported is refused, never dropped; what only concerns OpenAI's platform is
ignored. Source: the public API reference of chat completions, completions and embeddings; `guided_*`, `top_k`, `min_p`
and `repetition_penalty` as vLLM's server names them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bessemer.api.serve.v1 import inference_service_pb2 as api
from bessemer.kernel.errors import InvalidRequest

__all__ = ["Ask", "EmbeddingsAsk", "read_chat", "read_completion", "read_embeddings", "reseed"]

CHOICES_MAX = 16
PROMPTS_MAX = 64
LOGPROBS_MAX = 20
# Of the platform, not of the answer.
_IGNORED = frozenset({"metadata", "store", "service_tier", "prompt_cache_key", "prompt_cache_retention"})
# Understood only when it asks for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "suffix": ("",),
    "functions": ([],),
    "modalities": (["text"],),
}
_SAMPLING = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
)
_GUIDED = {
    "guided_json": "json_schema",
    "guided_regex": "regex",
    "guided_grammar": "grammar",
    "guided_choice": "choices",
}
# Who asks, newest name first: requests of one user go to one deployment.
_USER = ("safety_identifier", "user")
_KNOWN = frozenset(
    {"model", "stream", "stream_options", "stop", "n", "logprobs", "logit_bias", *_SAMPLING, *_GUIDED, *_USER}
)
_CHAT = frozenset(
    {
        "messages",
        "max_completion_tokens",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "top_logprobs",
    }
)
_COMPLETION = frozenset({"prompt", "echo"})
_ROLES = {"developer": "system"}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that was understood; `model` is as the client wrote it, each of `requests` wants `num_choices` answers.

    With `echo` a prompt stands before its answer; without `generates` it stands alone.
    """

    model: str
    requests: tuple[api.StreamGenerateRequest, ...]
    num_choices: int
    stream: bool
    include_usage: bool
    echo: bool = False
    generates: bool = True


@dataclass(frozen=True, slots=True)
class EmbeddingsAsk:
    """A request for vectors."""

    model: str
    texts: tuple[str, ...]
    base64: bool


def read_chat(body: object) -> Ask:
    """Read the body of a chat completion request; its target is set later.

    Raises: InvalidRequest naming the parameter.
    """
    values = _values(body, _KNOWN | _CHAT)
    if "max_completion_tokens" in values:
        values["max_tokens"] = values["max_completion_tokens"]
    request = api.StreamGenerateRequest(prompt=_conversation(values))
    _set_tools(request.prompt, values)
    _set_sampling(request.sampling, values)
    if _flag(values, "logprobs"):
        request.sampling.top_logprobs = _count(values, "top_logprobs", 0, most=LOGPROBS_MAX)
    elif values.get("top_logprobs"):
        raise InvalidRequest("top_logprobs needs logprobs to be true", field="top_logprobs")
    _set_format(request.sampling, values)
    return _ask(values, (request,))


def read_completion(body: object) -> Ask:
    """Read the body of a completion request; its target is set later.

    Raises: InvalidRequest naming the parameter.
    """
    values = _values(body, _KNOWN | _COMPLETION)
    echo = _flag(values, "echo")
    if echo and _flag(values, "stream"):
        raise _unsupported("echo", "a stream has no echo")
    generates = not (echo and values.get("max_tokens") == 0)
    if not generates:
        del values["max_tokens"]
    requests = []
    for text in _prompts(values.get("prompt")):
        request = api.StreamGenerateRequest(prompt=api.Prompt(text=text))
        _set_sampling(request.sampling, values)
        if "logprobs" in values:
            request.sampling.top_logprobs = _count(values, "logprobs", 0, most=LOGPROBS_MAX)
        requests.append(request)
    return _ask(values, tuple(requests), echo=echo, generates=generates)


def read_embeddings(body: object) -> EmbeddingsAsk:
    """Read the body of an embeddings request.

    Raises: InvalidRequest naming the parameter.
    """
    values = _values(body, frozenset({"model", "input", "encoding_format"}))
    texts = values.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidRequest("input must be a text or a list of texts", field="input")
    form = values.get("encoding_format", "float")
    if form not in {"float", "base64"}:
        raise InvalidRequest("encoding_format must be float or base64", field="encoding_format")
    return EmbeddingsAsk(_text(values, "model"), tuple(texts), form == "base64")


def reseed(sampling: api.SamplingParams, seed: int | None, number: int) -> None:
    """Set the seed of the choice of this number, if the request has a seed; seeds count up and wrap around."""
    if seed is not None:
        sampling.seed = (seed + number + (1 << 63)) % (1 << 64) - (1 << 63)


def _ask(values: Mapping[str, Any], requests: tuple[api.StreamGenerateRequest, ...], **more: bool) -> Ask:
    options = values.get("stream_options", {})
    if not isinstance(options, dict):
        raise InvalidRequest("stream_options must be an object", field="stream_options")
    user = next((_text(values, key) for key in _USER if values.get(key)), "")
    for request in requests:
        request.user = user
    return Ask(
        _text(values, "model"),
        requests,
        _count(values, "n", 1, least=1, most=CHOICES_MAX),
        _flag(values, "stream"),
        options.get("include_usage") is True,
        **more,
    )


def _values(body: object, known: frozenset[str]) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object")
    values = {key: value for key, value in body.items() if value is not None}
    for key, value in values.items():
        if key in _NEUTRAL and value not in _NEUTRAL[key]:
            raise _unsupported(key, f"only {_NEUTRAL[key][0]!r} is supported")
        if key not in known | _IGNORED | _NEUTRAL.keys():
            raise _unsupported(key, "this parameter is not supported")
    return values


def _conversation(values: Mapping[str, Any]) -> api.Prompt:
    messages = values.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages must be a list of at least one message", field="messages")
    prompt = api.Prompt()
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if not isinstance(message, dict):
            raise InvalidRequest(f"{path} must be an object", field=path)
        role = _text(message, "role", path)
        turn = prompt.messages.add(role=_ROLES.get(role, role))
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list):
            raise InvalidRequest(f"{path}.tool_calls must be a list", field=f"{path}.tool_calls")
        for number, call in enumerate(calls):
            _set_call(turn.tool_calls.add(), call, f"{path}.tool_calls[{number}]")
        if not (calls and message.get("content") is None):
            turn.content = _content(message.get("content"), f"{path}.content")
        if role == "tool":
            turn.tool_call_id = _text(message, "tool_call_id", path)
            turn.name = message["name"] if isinstance(message.get("name"), str) else ""
    return prompt


def _set_call(target: api.ToolCall, call: object, path: str) -> None:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        raise InvalidRequest(f"{path} must be a call of a function", field=path)
    target.id = _text(call, "id", path)
    target.name = _text(function, "name", f"{path}.function")
    arguments = function.get("arguments", "")
    if not isinstance(arguments, str):
        raise InvalidRequest(f"{path}.function.arguments must be text", field=f"{path}.function.arguments")
    target.arguments = arguments


def _content(content: object, path: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidRequest(f"{path} must be text, or a list of parts of type text", field=path)
    texts: list[str] = []
    for index, part in enumerate(content):
        text = part.get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else part
            raise InvalidRequest(
                f"{path}[{index}] is of type {str(kind)[:40]!r}; this model reads text only",
                field=f"{path}[{index}]",
            )
        texts.append(text)
    return "".join(texts)


def _set_tools(prompt: api.Prompt, values: Mapping[str, Any]) -> None:
    tools = values.get("tools", [])
    if not isinstance(tools, list):
        raise InvalidRequest("tools must be a list", field="tools")
    for index, tool in enumerate(tools):
        path = f"tools[{index}]"
        function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
        if not isinstance(function, dict):
            raise InvalidRequest(f"{path} must be of type function", field=path)
        description = function.get("description") or ""
        prompt.tools.add(
            name=_text(function, "name", f"{path}.function"),
            description=description if isinstance(description, str) else str(description),
            parameters_json=json.dumps(function.get("parameters") or {}, ensure_ascii=False),
            strict=function.get("strict") is True,
        )
    choice = values.get("tool_choice", "auto" if tools else "none")
    words = {"auto": api.TOOL_CHOICE_AUTO, "none": api.TOOL_CHOICE_NONE, "required": api.TOOL_CHOICE_REQUIRED}
    if isinstance(choice, str) and choice in words:
        prompt.tool_choice = words[choice]
    elif isinstance(choice, dict) and isinstance(choice.get("function"), dict):
        prompt.tool_choice = api.TOOL_CHOICE_REQUIRED
        prompt.tool_name = _text(choice["function"], "name", "tool_choice.function")
    else:
        raise InvalidRequest("tool_choice must be auto, none, required, or name a function", field="tool_choice")
    # One named function is called once.
    prompt.single_tool_call = values.get("parallel_tool_calls") is False or bool(prompt.tool_name)


def _set_format(sampling: api.SamplingParams, values: Mapping[str, Any]) -> None:
    form = values.get("response_format", {"type": "text"})
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "json_object":
        sampling.constraint.json_object = True
    elif kind == "json_schema":
        described = form.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        if not isinstance(schema, dict):
            field = "response_format.json_schema.schema"
            raise InvalidRequest(f"{field} must be an object", field=field)
        sampling.constraint.json_schema = json.dumps(schema, ensure_ascii=False)
    elif kind != "text":
        raise InvalidRequest(
            "response_format must be of type text, json_object or json_schema", field="response_format"
        )


def _prompts(prompt: object) -> list[str]:
    texts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(texts, list) or not 0 < len(texts) <= PROMPTS_MAX or not all(isinstance(t, str) for t in texts):
        raise InvalidRequest(f"prompt must be a text or a list of 1 to {PROMPTS_MAX} texts, no tokens", field="prompt")
    return texts


def _set_sampling(sampling: api.SamplingParams, values: Mapping[str, Any]) -> None:
    for key in _SAMPLING:
        value = values.get(key)
        if value is None:
            continue
        try:
            setattr(sampling, key, value)
        except (TypeError, ValueError):
            raise InvalidRequest(f"{key} must be a number in range; got {str(value)[:80]!r}", field=key) from None
    stop = values.get("stop", [])
    stop = [stop] if isinstance(stop, str) else stop
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise InvalidRequest("stop must be a text or a list of texts", field="stop")
    sampling.stop.extend(stop)
    _set_bias(sampling, values.get("logit_bias", {}))
    for key, kind in _GUIDED.items():
        if key in values:
            _set_guide(sampling.constraint, key, kind, values[key])


def _set_bias(sampling: api.SamplingParams, bias: object) -> None:
    try:
        if not isinstance(bias, dict):
            raise TypeError
        for token, value in bias.items():
            sampling.logit_bias[int(token)] = value
    except (TypeError, ValueError):
        raise InvalidRequest("logit_bias must give a number for each number of a token", field="logit_bias") from None


def _set_guide(constraint: api.Constraint, key: str, kind: str, value: object) -> None:
    if kind == "choices":
        if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
            raise InvalidRequest(f"{key} must be a list of texts", field=key)
        constraint.choices.texts.extend(value)
        return
    text = json.dumps(value, ensure_ascii=False) if kind == "json_schema" and isinstance(value, dict) else value
    if not isinstance(text, str):
        raise InvalidRequest(f"{key} must be text", field=key)
    setattr(constraint, kind, text)


def _text(values: Mapping[str, Any], key: str, path: str = "") -> str:
    value = values.get(key)
    field = f"{path}.{key}" if path else key
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"{field} must be a text", field=field)
    return value


def _flag(values: Mapping[str, Any], key: str) -> bool:
    value = values.get(key, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{key} must be true or false", field=key)
    return value


def _count(values: Mapping[str, Any], key: str, default: int, *, least: int = 0, most: int) -> int:
    value = values.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidRequest(f"{key} must be {least} to {most}; got {str(value)[:40]}", field=key)
    return value


def _unsupported(key: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{key}: {rule} by this server; leave it out", field=key)
