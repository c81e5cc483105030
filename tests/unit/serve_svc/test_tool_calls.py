import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serve_svc.engine.protocol import Tool, ToolCall, Turn
from serve_svc.engine.tool_calls import ToolCallReader, new_call_id
from serve_svc.engine.tools import described, format_of, to_messages


def read(tool_format, pieces, *, single=False, names=("weather", "time")):
    ids = (f"id{number}" for number in itertools.count())
    reader = ToolCallReader(tool_format, names, single=single, new_id=lambda: next(ids))
    texts, calls = [], {}
    for text, deltas in [*map(reader.push, pieces), reader.finish()]:
        texts.append(text)
        for delta in deltas:
            known = calls.setdefault(delta.index, ["", "", ""])
            for place, value in enumerate((delta.id, delta.name, delta.arguments)):
                known[place] += value
    assert reader.num_calls == len(calls)
    return "".join(texts), [tuple(call) for _, call in sorted(calls.items())]


ARGUMENTS = '{"city": "Köln \\"}{[", "days": [1, {"a": 2}]}'
HERMES = f'<tool_call>\n{{"name": "weather", "arguments": {ARGUMENTS}}}\n</tool_call>'
TIME = '<tool_call>\n{"name": "time", "arguments": {}}\n</tool_call>'
MISTRAL = f'[{{"name": "weather", "arguments": {ARGUMENTS}}}, {{"name": "time", "arguments": {{}}}}]'
LLAMA = f'{{"name": "weather", "parameters": {ARGUMENTS}}}'
ONE, TWO = [("id0", "weather", ARGUMENTS)], [("id0", "weather", ARGUMENTS), ("id1", "time", "{}")]

CASES = [
    ("hermes", "Just text <b>bold</b> \n", ("Just text <b>bold</b> \n", [])),
    ("hermes", HERMES, ("", ONE)),
    ("hermes", f"Let me look.\n\n{HERMES}\n{TIME}", ("Let me look.", TWO)),
    ("hermes", f"{HERMES}\nDone.", ("Done.", ONE)),
    ("hermes", "<tool_call>\nno call</tool_call>", ("<tool_call>\nno call</tool_call>", [])),
    ("hermes", '<tool_call>{"name": "rm", "arguments": {}}', ('<tool_call>{"name": "rm", "arguments": {}}', [])),
    ("hermes", '<tool_call>{"arguments": {"a": 1}, "name": "time"}</tool_call>', ("", [("id0", "time", '{"a": 1}')])),
    ("hermes", '<tool_call>{"name": "time", "arguments": {"a": "cut of', ("", [("id0", "time", '{"a": "cut of')])),
    ("hermes", '<tool_call>{"name": "ti', ('<tool_call>{"name": "ti', [])),
    ("mistral", "[TOOL_CALLS]" + MISTRAL, ("", TWO)),
    ("mistral", "[TOOL_CALLS] " + MISTRAL, ("", TWO)),
    ("mistral", MISTRAL, ("", TWO)),
    ("mistral", "[1, 2] are numbers", ("[1, 2] are numbers", [])),
    ("mistral", "The answer is [TOOL_CALLS]" + MISTRAL, ("The answer is", TWO)),
    ("llama3", LLAMA, ("", ONE)),
    ("llama3", "<|python_tag|>" + LLAMA, ("", ONE)),
    ("llama3", '{"an": "object"} as asked', ('{"an": "object"} as asked', [])),
    ("llama3", "Paris.", ("Paris.", [])),
]


@pytest.mark.parametrize(("tool_format", "text", "expected"), CASES)
def test_reader_tells_calls_from_text_however_the_text_is_cut(tool_format, text, expected):
    assert read(tool_format, [text]) == expected
    assert read(tool_format, list(text)) == expected
    for cut in range(len(text)):
        assert read(tool_format, [text[:cut], text[cut:]]) == expected


def test_reader_of_single_calls_drops_the_second():
    assert read("hermes", [HERMES, TIME], single=True) == ("", ONE)
    assert read("mistral", [MISTRAL], single=True) == ("", ONE)


def test_reader_streams_arguments_as_they_come():
    reader = ToolCallReader("hermes", ["weather"], new_id=lambda: "x")
    reader.push('<tool_call>{"name": "weather", "arguments": ')
    assert reader.push('{"city"')[1][-1].arguments == '{"city"'
    assert reader.push(': "Rom')[1][0].arguments == ': "Rom'


@given(st.sampled_from(["hermes", "mistral", "llama3"]), st.text('<tool_cal>/{}[]"\\:, nameTOOL_CS1'))
def test_reader_never_fails_and_does_not_depend_on_cuts(tool_format, text):
    assert read(tool_format, [text]) == read(tool_format, list(text))


def test_new_call_id_is_what_every_template_takes():
    assert len(new_call_id()) == 9
    assert new_call_id().isalnum()
    assert new_call_id() != new_call_id()


def test_format_of_templates_of_the_three_families():
    assert format_of("{{ '[TOOL_CALLS]' }}") == "mistral"
    assert format_of("<tool_call> ipython") == "hermes"
    assert format_of("""role == "ipython" ... '"parameters": '""") == "llama3"
    assert format_of("{{ messages }}") == "hermes"


def test_described_writes_tools_calls_and_results_into_the_conversation():
    turns = [
        Turn("system", "Be short."),
        Turn("user", "Weather?"),
        Turn("assistant", "", (ToolCall("a", "weather", '{"city": "Rom"}'), ToolCall("b", "time", "{}"))),
        Turn("tool", "rain", tool_call_id="a"),
        Turn("tool", "noon", tool_call_id="b"),
    ]
    plain = described(turns, [Tool("weather", "Tells it.", '{"type": "object"}')])
    assert [turn.role for turn in plain] == ["system", "user", "assistant", "user"]
    assert plain[0].content.startswith("Be short.\n\n# Tools")
    assert '"name": "weather"' in plain[0].content
    text, calls = read("hermes", [plain[2].content])
    assert (text, [call[1:] for call in calls]) == ("", [("weather", '{"city": "Rom"}'), ("time", "{}")])
    assert plain[3].content.count("<tool_response>") == 2
    assert described(turns[:2], []) == turns[:2]


def test_messages_of_templates_hold_arguments_as_objects():
    call = ToolCall("a", "weather", '{"city": "Rom"}')
    messages = to_messages([Turn("assistant", "x", (call,)), Turn("tool", "rain", tool_call_id="a", name="weather")])
    assert messages[0]["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "Rom"}}
    assert messages[1] == {"role": "tool", "content": "rain", "tool_call_id": "a", "name": "weather"}
    assert json.dumps(messages)
