import json

import pytest
from bessemer.api.serve.v1 import inference_service_pb2 as api
from bessemer.kernel.errors import InvalidRequest, LimitReached, Unavailable
from serve_svc.api.openai_answer import Collected, Shape, error_body, http_status, quota_headers
from serve_svc.api.openai_request import read_chat, read_completion, read_embeddings
from serve_svc.app.inference import Part
from serve_svc.app.meter import Bucket, Quota
from serve_svc.engine.protocol import Alternative, Piece, TokenLogprob
from serve_svc.engine.tool_calls import CallDelta

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}}


def test_read_chat_becomes_a_request():
    ask = read_chat(CHAT | {"stop": "x", "max_completion_tokens": 7, "seed": 3, "temperature": 0, "user": "u"})
    sampling = ask.requests[0].sampling
    assert (list(sampling.stop), sampling.max_tokens, sampling.seed) == (["x"], 7, 3)
    assert sampling.HasField("temperature")
    assert not sampling.HasField("top_p")
    assert (ask.model, ask.stream, ask.include_usage, ask.num_choices) == ("m", False, False, 1)


def test_read_chat_parts_and_developer_role_are_text_and_system():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    ask = read_chat(CHAT | {"messages": [{"role": "developer", "content": parts}]})
    assert [(m.role, m.content) for m in ask.requests[0].prompt.messages] == [("system", "ab")]


def test_read_chat_tools_calls_and_results_are_turns():
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]
    prompt = read_chat(CHAT | {"messages": messages, "tools": [WEATHER]}).requests[0].prompt
    assert prompt.tool_choice == api.TOOL_CHOICE_AUTO
    assert (prompt.tools[0].name, json.loads(prompt.tools[0].parameters_json)) == ("weather", {"type": "object"})
    (turn,) = prompt.messages[1].tool_calls
    assert (turn.id, turn.name, turn.arguments) == ("c1", "weather", '{"a": 1}')
    assert (prompt.messages[2].role, prompt.messages[2].tool_call_id) == ("tool", "c1")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", (api.TOOL_CHOICE_AUTO, "", False)),
        ("none", (api.TOOL_CHOICE_NONE, "", False)),
        ("required", (api.TOOL_CHOICE_REQUIRED, "", False)),
        ({"type": "function", "function": {"name": "weather"}}, (api.TOOL_CHOICE_REQUIRED, "weather", True)),
    ],
)
def test_read_chat_tool_choice(choice, expected):
    prompt = read_chat(CHAT | {"tools": [WEATHER], "tool_choice": choice}).requests[0].prompt
    assert (prompt.tool_choice, prompt.tool_name, prompt.single_tool_call) == expected


def test_read_chat_formats_and_guides_become_constraints():
    schema = {"type": "object"}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
    assert json.loads(_constraint({"response_format": wanted}).json_schema) == schema
    assert _constraint({"response_format": {"type": "json_object"}}).json_object
    assert _constraint({"response_format": {"type": "text"}}).WhichOneof("kind") is None
    assert _constraint({"guided_regex": "a+"}).regex == "a+"
    assert list(_constraint({"guided_choice": ["a", "b"]}).choices.texts) == ["a", "b"]
    assert json.loads(_constraint({"guided_json": schema}).json_schema) == schema


def _constraint(values):
    return read_chat(CHAT | values).requests[0].sampling.constraint


def test_read_chat_sampling_of_other_servers_and_logprobs():
    values = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "logit_bias": {"7": -100}, "n": 3}
    ask = read_chat(CHAT | values | {"logprobs": True, "top_logprobs": 2, "presence_penalty": 1})
    sampling = ask.requests[0].sampling
    assert (sampling.top_k, sampling.min_p, sampling.repetition_penalty) == (5, 0.1, 1.1)
    assert (dict(sampling.logit_bias), sampling.top_logprobs, sampling.presence_penalty) == ({7: -100.0}, 2, 1)
    assert ask.num_choices == 3


def test_read_completion_takes_several_prompts_and_an_echo():
    ask = read_completion({"model": "m", "prompt": ["x", "y"], "echo": True, "max_tokens": 0, "logprobs": 1})
    assert [request.prompt.text for request in ask.requests] == ["x", "y"]
    assert (ask.echo, ask.generates) == (True, False)
    assert ask.requests[0].sampling.top_logprobs == 1


def test_read_embeddings():
    ask = read_embeddings({"model": "m", "input": "a", "encoding_format": "base64"})
    assert (ask.texts, ask.base64) == (("a",), True)
    for bad in ({"input": []}, {"input": [1]}, {"input": "a", "dimensions": 5}, {"input": "a", "encoding_format": "x"}):
        with pytest.raises(InvalidRequest):
            read_embeddings({"model": "m"} | bad)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}, "messages[0].tool_calls[0]"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [WEATHER], "tool_choice": "sometimes"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 30}, "top_logprobs"),
        ({"stream": "yes"}, "stream"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 2**40}, "max_tokens"),
        ({"stop": [1]}, "stop"),
        ({"stream_options": []}, "stream_options"),
        ({"guided_choice": "a"}, "guided_choice"),
        ({"prompt": "x"}, "prompt"),
        ({"typo": 1}, "typo"),
    ],
)
def test_read_chat_what_cannot_be_honoured_is_refused(change, field):
    with pytest.raises(InvalidRequest) as caught:
        read_chat(CHAT | change)
    assert caught.value.fields["field"] == field


@pytest.mark.parametrize("prompt", [[1, 2], [], ["x"] * 100, 5])
def test_read_completion_what_is_no_text_is_refused(prompt):
    with pytest.raises(InvalidRequest) as caught:
        read_completion({"model": "m", "prompt": prompt})
    assert caught.value.fields["field"] == "prompt"


def test_errors_have_the_status_and_shape_that_clients_know():
    too_long = InvalidRequest("no", reason="CONTEXT_TOO_LONG", field="sampling.max_tokens")
    assert http_status(too_long) == 400
    expected = {
        "message": "no",
        "type": "invalid_request_error",
        "param": "max_tokens",
        "code": "context_length_exceeded",
    }
    assert error_body(too_long) == {"error": expected}
    assert (http_status(LimitReached("x")), error_body(LimitReached("x"))["error"]["type"]) == (429, "rate_limit_error")
    assert (http_status(Unavailable("x")), error_body(Unavailable("x"))["error"]["type"]) == (503, "api_error")


def test_shape_last_piece_without_text_only_finishes():
    shape = Shape(chat=True, model="m", created_s=1)
    (chunk,) = shape.pieces(0, Part("r", "v", Piece("1", "", (), "stop", 3, 2)))
    assert chunk["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}


def test_shape_calls_are_deltas_and_then_a_whole():
    parts = [
        Part("r", "v", Piece("1", "", (1,)), (CallDelta(0, "id", "weather"),)),
        Part("r", "v", Piece("1", "", (2,)), (CallDelta(0, arguments='{"a": '),)),
        Part("r", "v", Piece("1", "", (3,), "tool_calls", 4, 3), (CallDelta(0, arguments="1}"),)),
    ]
    shape, answer = Shape(chat=True, model="m", created_s=1), Collected()
    deltas = [chunk["choices"][0]["delta"] for part in parts for chunk in shape.pieces(0, part)]
    assert deltas[0] == {
        "tool_calls": [{"index": 0, "id": "id", "type": "function", "function": {"name": "weather", "arguments": ""}}]
    }
    assert [delta["tool_calls"][0]["function"]["arguments"] for delta in deltas[:3]] == ["", '{"a": ', "1}"]
    for part in parts:
        answer.add(part)
    (choice,) = shape.whole([answer])["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"a": 1}'}


def test_shape_logprobs_of_both_apis():
    entries = (TokenLogprob(1, "61", -0.5, (Alternative(2, "c3", -0.1),)), TokenLogprob(3, "62", -1.0))
    answer = Collected()
    answer.add(Part("r", "v", Piece("1", "ab", (1, 3), "stop", 4, 2, entries)))
    (choice,) = Shape(True, "m", 1, logprobs=True).whole([answer])["choices"]
    assert choice["logprobs"]["content"][0] == {
        "token": "a",
        "logprob": -0.5,
        "bytes": [97],
        "top_logprobs": [{"token": "\ufffd", "logprob": -0.1, "bytes": [195]}],
    }
    (choice,) = Shape(False, "m", 1, logprobs=True).whole([answer])["choices"]
    assert choice["logprobs"]["tokens"] == ["a", "b"]
    assert choice["logprobs"]["text_offset"] == [0, 1]


def test_shape_usage_counts_a_prompt_once_for_all_its_choices():
    answers = [Collected(prompt_tokens=5, completion_tokens=2) for _ in range(4)]
    usage = Shape(True, "m", 1, num_choices=2).whole(answers)["usage"]
    assert usage == {"prompt_tokens": 10, "completion_tokens": 8, "total_tokens": 18}


def test_quota_headers_leave_out_what_has_no_limit():
    headers = quota_headers(Quota(Bucket(60, 29.5, 0), Bucket(0, 0, 0)))
    assert headers == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "29",
        "x-ratelimit-reset-requests": "30.500s",
    }
