import pytest
from bessemer.kernel.errors import InvalidRequest
from serve_svc.engine import protocol as p


@pytest.mark.parametrize(
    "message",
    [
        p.Load(folder="/m", threads=2, num_slots=8, num_waiting_max=9, kv_bytes_max=1, prefill_tokens_max=5),
        p.Generate("1", p.Prompt((p.Turn("user", "Zeile\n\u2028 😀"),)), p.Sampling(stop=("a", "\n"), seed=3)),
        p.Count("2", p.Prompt(text="x")),
        p.Abort("3"),
        p.Ping("4"),
        p.Ready(128),
        p.Piece("5", "é", (1, 2), "stop", 3, 4),
        p.Counted("6", 7),
        p.Pong("8"),
        p.failure("9", InvalidRequest("no", field="sampling.stop")),
    ],
)
def test_protocol_message_survives_the_wire_as_one_line(message):
    line = p.encode(message)
    assert line.count(b"\n") == 1
    assert p.decode(line) == message


def test_protocol_failure_becomes_the_same_error():
    error = p.failure("1", InvalidRequest("too long", reason="CONTEXT_TOO_LONG", field="prompt")).error()
    assert isinstance(error, InvalidRequest)
    assert (error.reason, error.fields, error.message) == ("CONTEXT_TOO_LONG", {"field": "prompt"}, "too long")
