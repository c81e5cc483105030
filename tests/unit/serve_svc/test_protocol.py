import typing

import pytest
from bessemer.kernel.errors import InvalidRequest
from serve_svc.engine import protocol as p

CALL = p.ToolCall("abc123def", "weather", '{"city": "Köln"}')
TURNS = (
    p.Turn("user", "Zeile\n\u2028 😀"),
    p.Turn("assistant", "", (CALL,)),
    p.Turn("tool", "rain", tool_call_id="abc123def", name="weather"),
)
SAMPLING = p.Sampling(
    stop=("a", "\n"), seed=3, logit_bias=((5, -1.5), (6, 100.0)), logprobs=2, constraint=p.Constraint("regex", "a+")
)
LOGPROBS = (p.TokenLogprob(1, "61", -0.5, (p.Alternative(2, "ff", -1.0),)), p.TokenLogprob(2, "", None))
MESSAGES = [
    p.Load(folder="/m", threads=2, num_slots=8, num_waiting_max=9, kv_bytes_max=1, prefill_tokens_max=5),
    p.Generate("1", p.Prompt(TURNS, tools=(p.Tool("weather", "d", '{"type": "object"}'),)), SAMPLING, "law"),
    p.Count("2", p.Prompt(text="x")),
    p.Tokenize("2", p.Prompt(text="x")),
    p.Detokenize("2", (1, 2)),
    p.Score("2", p.Prompt(text="x"), ("a", "b"), 3),
    p.Embed("2", ("a", "é")),
    p.Abort("3"),
    p.Ping("4"),
    p.Ready(128, "mistral", "openvino", "fp32"),
    p.Piece("5", "é", (1, 2), "stop", 3, 4, LOGPROBS),
    p.Counted("6", 7),
    p.Tokenized("6", (1,), ("61",)),
    p.Detokenized("6", "a"),
    p.Scored("6", 3, (LOGPROBS, ())),
    p.Embedded("6", ("AAAA",), 2),
    p.Pong("8"),
    p.LoadAdapter("9", "law", "/a"),
    p.UnloadAdapter("9", "law"),
    p.AdapterChanged("9"),
    p.failure("9", InvalidRequest("no", field="sampling.stop")),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_protocol_message_survives_the_wire_as_one_line(message):
    line = p.encode(message)
    assert line.count(b"\n") == 1
    assert p.decode(line) == message


def test_protocol_every_kind_of_message_is_tried_above():
    assert {type(message) for message in MESSAGES} == set(typing.get_args(p.Message))


def test_protocol_failure_becomes_the_same_error():
    error = p.failure("1", InvalidRequest("too long", reason="CONTEXT_TOO_LONG", field="prompt")).error()
    assert isinstance(error, InvalidRequest)
    assert (error.reason, error.fields, error.message) == ("CONTEXT_TOO_LONG", {"field": "prompt"}, "too long")
