import pytest
from bessemer.kernel.errors import InvalidRequest, LimitReached, Unavailable
from serve_svc.api.openai_json import Shape, error_body, http_status, read_ask
from serve_svc.app.inference import Part
from serve_svc.engine.protocol import Piece

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def test_read_ask_chat_becomes_a_request():
    ask = read_ask(
        CHAT | {"stop": "x", "max_completion_tokens": 7, "seed": 3, "temperature": 0, "user": "u", "n": 1},
        chat=True,
    )
    sampling = ask.request.sampling
    assert (list(sampling.stop), sampling.max_tokens, sampling.seed) == (["x"], 7, 3)
    assert sampling.HasField("temperature")
    assert not sampling.HasField("top_p")
    assert (ask.model, ask.stream, ask.include_usage) == ("m", False, False)


def test_read_ask_parts_and_developer_role_are_text_and_system():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    ask = read_ask(CHAT | {"messages": [{"role": "developer", "content": parts}]}, chat=True)
    assert [(m.role, m.content) for m in ask.request.prompt.messages] == [("system", "ab")]


def test_read_ask_completion_takes_one_prompt():
    assert read_ask({"model": "m", "prompt": ["x"]}, chat=False).request.prompt.text == "x"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 2**40}, "max_tokens"),
        ({"stop": [1]}, "stop"),
        ({"stream_options": []}, "stream_options"),
        ({"typo": 1}, "typo"),
    ],
)
def test_read_ask_what_cannot_be_honoured_is_refused(change, field):
    with pytest.raises(InvalidRequest) as caught:
        read_ask(CHAT | change, chat=True)
    assert caught.value.fields["field"] == field


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
    (chunk,) = shape.pieces(Part("r", "v", Piece("1", "", (), "stop", 3, 2)))
    assert chunk["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
