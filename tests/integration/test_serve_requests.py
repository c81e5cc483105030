"""What may be asked of serve_svc, by real clients of a real engine with the tiny random model."""

import asyncio
import json
from typing import Literal

import grpc
import jsonschema
import numpy as np
import openai
import pydantic
import pytest
import pytest_asyncio
from bessemer.api.serve.v1 import inference_service_pb2 as api
from bessemer.kernel.errors import InvalidRequest
from bessemer.svckit.status import from_rpc_error

from tests.fixtures.schemas import PERSON
from tests.fixtures.tiny_model import make_tiny_model
from tests.integration.test_serve_svc import ENDPOINT, answer, refusal, stream, world_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Köln"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
TIME = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "maxProperties": 0}}}


class Report(pydantic.BaseModel):
    verdict: Literal["good", "bad"]
    sure: bool
    grade: Literal[1, 2, 3]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def serving(tmp_path_factory):
    home, model = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("models") / "one"
    make_tiny_model(model, max_position_embeddings=2048)
    async with world_in(home, model) as world:
        world.deployment = await world.ready()
        yield world


@pytest.fixture
def client(serving):
    return serving.openai()


def chat(**fields):
    return {"model": "chat", "messages": MESSAGES, "temperature": 1.0, "seed": 4, "max_tokens": 200} | fields


async def test_openai_schema_is_kept_and_parsed(client):
    parsed = await client.chat.completions.parse(**chat(), response_format=Report)
    assert parsed.choices[0].message.parsed.verdict in {"good", "bad"}
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    whole = await client.chat.completions.create(**chat(n=3), response_format=form)
    for choice in whole.choices:
        jsonschema.Draft202012Validator(PERSON).validate(json.loads(choice.message.content))
        assert choice.finish_reason == "stop"
    assert len({choice.message.content for choice in whole.choices}) == 3
    chunks = await client.chat.completions.create(**chat(), response_format=form, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
    assert text == whole.choices[0].message.content


async def test_openai_json_object_and_guides(client):
    loose = await client.chat.completions.create(**chat(max_tokens=40), response_format={"type": "json_object"})
    assert loose.choices[0].message.content.startswith("{")
    picked = await client.chat.completions.create(**chat(), extra_body={"guided_choice": ["iron", "steel"]})
    assert picked.choices[0].message.content in {"iron", "steel"}
    plain = await client.completions.create(
        model="chat", prompt="It is", temperature=1, extra_body={"guided_regex": "[0-9]{2}:[0-9]{2}"}
    )
    assert plain.choices[0].text[2] == ":"


async def test_grpc_constraints_of_every_kind(serving):
    lark = 'start: ("a" | "b")~3'
    for constraint, good in (
        ({"json_schema": json.dumps({"enum": [1, "x"]})}, lambda text: json.loads(text) in (1, "x")),
        ({"regex": "[ab]{4}"}, lambda text: len(text) == 4),
        ({"grammar": lark}, lambda text: len(text) == 3),
        ({"choices": {"texts": ["left", "right"]}}, lambda text: text in {"left", "right"}),
    ):
        said = await answer(serving, sampling={"temperature": 1, "constraint": constraint, "max_tokens": 30})
        assert good(said.text), said.text
        assert said.finish_reason == api.FINISH_REASON_STOP


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        (
            {"sampling": {"constraint": {"json_schema": '{"type": "objct"}'}}},
            "sampling.constraint.json_schema",
            "$.type",
        ),
        ({"sampling": {"constraint": {"regex": "("}}}, "sampling.constraint.regex", "unclosed"),
        ({"sampling": {"constraint": {"regex": ""}}}, "sampling.constraint.regex", "empty"),
        ({"sampling": {"constraint": {"choices": {}}}}, "sampling.constraint.choices.texts", "at least one"),
        ({"sampling": {"logit_bias": {1: 1000}}}, "sampling.logit_bias", "-100 to 100"),
        ({"sampling": {"min_p": 2}}, "sampling.min_p", "at most 1"),
        ({"sampling": {"top_logprobs": 50}}, "sampling.top_logprobs", "at most 20"),
        ({"prompt": {"text": "x", "tools": [{"name": "t"}]}}, "prompt.tools", "conversation"),
        ({"prompt": {"messages": MESSAGES, "tools": [{"name": "a b"}]}}, "prompt.tools[0].name", "match"),
        ({"prompt": {"messages": MESSAGES, "tools": [{"name": "t"}] * 2}}, "prompt.tools", "different"),
        ({"prompt": {"messages": MESSAGES, "tool_choice": 3}}, "prompt.tools", "lack"),
        (
            {"prompt": {"messages": MESSAGES, "tools": [{"name": "t", "parameters_json": "[]"}]}},
            "prompt.tools[0].parameters_json",
            "JSON object",
        ),
    ],
)
async def test_grpc_what_cannot_be_followed_is_refused_at_its_field(serving, fields, field, words):
    error = await refusal(answer(serving, **fields))
    assert isinstance(error, InvalidRequest)
    assert error.fields["field"] == field
    assert words in error.message


async def test_openai_forced_tools_are_called_with_arguments_that_fit(client):
    validator = jsonschema.Draft202012Validator(WEATHER["function"]["parameters"])
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        for seed in range(5):
            ask = chat(tools=[WEATHER, TIME], tool_choice=choice, seed=seed, parallel_tool_calls=False)
            said = (await client.chat.completions.create(**ask)).choices[0]
            assert said.finish_reason == "tool_calls"
            (call,) = said.message.tool_calls
            assert len(call.id) == 9
            if choice != "required":
                assert call.function.name == "weather"
            if call.function.name == "weather":
                validator.validate(json.loads(call.function.arguments))


async def test_openai_tool_calls_in_a_stream_are_those_of_the_whole(client):
    ask = chat(tools=[WEATHER], tool_choice="required", parallel_tool_calls=False)
    whole = (await client.chat.completions.create(**ask)).choices[0].message.tool_calls[0].function
    name, arguments, finish = "", "", ""
    async for chunk in await client.chat.completions.create(**ask, stream=True):
        choice = chunk.choices[0]
        assert not choice.delta.content
        for call in choice.delta.tool_calls or []:
            assert call.index == 0
            name += call.function.name or ""
            arguments += call.function.arguments
        finish = choice.finish_reason or finish
    assert (name, arguments, finish) == (whole.name, whole.arguments, "tool_calls")


async def test_tool_results_are_read_and_tools_cost_prompt_tokens(serving, client):
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    messages = [
        {"role": "user", "content": "Rome?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "rain"},
    ]
    ask = chat(messages=messages, max_tokens=5)
    without = await client.chat.completions.create(**ask)
    beside = await client.chat.completions.create(**ask, tools=[TIME])
    forbidden = await client.chat.completions.create(**ask, tools=[TIME], tool_choice="none")
    assert beside.usage.prompt_tokens > without.usage.prompt_tokens == forbidden.usage.prompt_tokens
    grpc_calls = [{"id": "abcdefghi", "name": "weather", "arguments": '{"city": "Rome"}'}]
    prompt = {
        "messages": [
            {"role": "user", "content": "Rome?"},
            {"role": "assistant", "tool_calls": grpc_calls},
            {"role": "tool", "tool_call_id": "abcdefghi", "content": "rain"},
        ]
    }
    count = await serving.inference.CountTokens(api.CountTokensRequest(target=ENDPOINT, prompt=prompt))
    assert count.tokens == without.usage.prompt_tokens


async def test_grpc_forced_tool_is_a_message_of_its_own(serving):
    tools = [{"name": "weather", "parameters_json": json.dumps(WEATHER["function"]["parameters"])}]
    prompt = {"messages": MESSAGES, "tools": tools, "tool_choice": 3, "tool_name": "weather", "single_tool_call": True}
    fields = {"prompt": prompt, "sampling": {"temperature": 1, "seed": 3, "max_tokens": 200}}
    said = await answer(serving, **fields)
    (call,) = said.tool_calls
    assert (said.finish_reason, said.text, call.name) == (api.FINISH_REASON_TOOL_CALLS, "", "weather")
    pieces = [piece async for piece in stream(serving, **fields)]
    deltas = [delta for piece in pieces for delta in piece.tool_calls]
    assert deltas[0].name == "weather"
    assert "".join(delta.arguments for delta in deltas) == call.arguments


async def test_logprobs_of_the_whole_and_of_the_stream_are_those_of_score(serving, client):
    ask = chat(temperature=0, max_tokens=6, logprobs=True, top_logprobs=3)
    whole = (await client.chat.completions.create(**ask)).choices[0]
    entries = whole.logprobs.content
    assert b"".join(bytes(entry.bytes) for entry in entries).decode() == whole.message.content
    assert all(entry.top_logprobs[0].logprob == entry.logprob for entry in entries)  # greedy
    chunks = await client.chat.completions.create(**ask, stream=True)
    streamed = [e for chunk in [c async for c in chunks] if (lp := chunk.choices[0].logprobs) for e in lp.content]
    assert [entry.logprob for entry in streamed] == [entry.logprob for entry in entries]
    prompt = {"messages": MESSAGES}
    request = api.ScoreRequest(target=ENDPOINT, prompt=prompt, continuations=[whole.message.content, " no"])
    scored = await serving.inference.Score(request)
    if len(scored.continuations[0].tokens) == len(entries):
        assert scored.continuations[0].logprob == pytest.approx(sum(e.logprob for e in entries), abs=1e-3)
    assert scored.continuations[1].logprob < 0
    request.top_logprobs = 1
    assert (await serving.inference.Score(request)).continuations[0].is_greedy


async def test_completions_echo_scores_the_prompt(client):
    echoed = await client.completions.create(
        model="chat", prompt=["The furnace", "Steel"], echo=True, max_tokens=0, logprobs=2
    )
    assert [choice.text for choice in echoed.choices] == ["The furnace", "Steel"]
    logprobs = echoed.choices[0].logprobs
    assert "".join(logprobs.tokens) == "The furnace"
    assert logprobs.token_logprobs[0] is None
    assert all(value < 0 for value in logprobs.token_logprobs[1:])
    assert logprobs.text_offset[1] == len(logprobs.tokens[0])
    longer = await client.completions.create(model="chat", prompt="The furnace", echo=True, max_tokens=4, temperature=0)
    assert longer.choices[0].text.startswith("The furnace")
    assert longer.usage.completion_tokens == 4


async def test_choices_differ_by_seed_and_are_those_of_single_requests(client):
    several = await client.chat.completions.create(**chat(n=3, max_tokens=12))
    alone = [await client.chat.completions.create(**chat(seed=4 + i, max_tokens=12)) for i in range(3)]
    texts = [choice.message.content for choice in several.choices]
    assert texts == [whole.choices[0].message.content for whole in alone]
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert several.usage.prompt_tokens == alone[0].usage.prompt_tokens
    streamed = {}
    options = {"stream": True, "stream_options": {"include_usage": True}}
    async for chunk in await client.chat.completions.create(**chat(n=3, max_tokens=12), **options):
        for choice in chunk.choices:
            streamed[choice.index] = streamed.get(choice.index, "") + (choice.delta.content or "")
        usage = chunk.usage
    assert [streamed[index] for index in range(3)] == texts
    assert usage == several.usage


async def test_penalties_and_bias_change_what_is_said(serving, client):
    plain = (await client.chat.completions.create(**chat(temperature=0, max_tokens=30))).choices[0].message.content
    for change in ({"frequency_penalty": 2}, {"presence_penalty": 2}):
        other = await client.chat.completions.create(**chat(temperature=0, max_tokens=30) | change)
        assert other.choices[0].message.content != plain
    repeated = await client.chat.completions.create(
        **chat(temperature=0, max_tokens=30), extra_body={"repetition_penalty": 10, "min_p": 0.1, "top_k": 5}
    )
    assert repeated.choices[0].message.content != plain
    tokens = await serving.inference.Tokenize(api.TokenizeRequest(target=ENDPOINT, prompt={"text": "q"}))
    forced = await client.chat.completions.create(
        **chat(temperature=0, max_tokens=3), logit_bias={str(tokens.token_ids[0]): 100}
    )
    assert forced.choices[0].message.content == "qqq"


async def test_tokens_and_texts_go_both_ways(serving):
    text = "Der Ofen 漢 😀"
    found = await serving.inference.Tokenize(api.TokenizeRequest(target=ENDPOINT, prompt={"text": text}))
    assert b"".join(found.tokens).decode() == text
    request = api.DetokenizeRequest(target=ENDPOINT, token_ids=found.token_ids)
    assert (await serving.inference.Detokenize(request)).text == text
    error = await refusal(serving.inference.Detokenize(api.DetokenizeRequest(target=ENDPOINT, token_ids=[10**6])))
    assert error.fields["field"] == "token_ids"


async def test_embeddings_of_both_doors_are_the_same(serving, client):
    texts = ["The furnace holds the charge.", "Yes."]
    over_grpc = await serving.inference.Embed(api.EmbedRequest(target=ENDPOINT, texts=texts))
    default = await client.embeddings.create(model="chat", input=texts)  # asks for base64
    plain = await client.embeddings.create(model="chat", input=texts, encoding_format="float")
    for ours, theirs, third in zip(over_grpc.embeddings, default.data, plain.data, strict=True):
        assert np.linalg.norm(theirs.embedding) == pytest.approx(1, abs=1e-5)
        assert list(ours.values) == pytest.approx(theirs.embedding)
        assert list(ours.values) == pytest.approx(third.embedding)
    assert default.usage.prompt_tokens == over_grpc.usage.prompt_tokens


async def test_aborted_answer_ends_with_what_was_said(serving):
    call = stream(serving, sampling={"max_tokens": 470, "temperature": 1})
    first = await call.read()
    request = api.AbortRequestRequest(target=ENDPOINT, response_id=first.response_id)
    assert (await serving.inference.AbortRequest(request)).aborted
    pieces = [first]
    while piece := await call.read():
        pieces.append(piece)
    assert pieces[-1].finish_reason == api.FINISH_REASON_ABORTED
    assert pieces[-1].usage.completion_tokens == sum(len(piece.token_ids) for piece in pieces) < 470
    assert not (await serving.inference.AbortRequest(request)).aborted


async def test_bad_requests_disturb_no_running_stream(serving, client):
    """Whatever is thrown at the doors, a stream beside it goes on and says what it would have said."""
    ask = {"sampling": {"max_tokens": 300, "temperature": 1, "seed": 9}}
    expected = (await answer(serving, **ask)).text
    running = stream(serving, **ask)
    texts = [(await running.read()).text_delta]
    deep = '{"items":' * 2000 + "{}" + "}" * 2000
    grpc_bad = [
        {"prompt": {"text": "word " * 5000}},
        {"sampling": {"constraint": {"json_schema": deep}}},
        {"sampling": {"constraint": {"json_schema": '{"type": "objct"}'}}},
        {"sampling": {"constraint": {"grammar": "start: start start | " + "a " * 1000}}},
        {"target": "projects/default/endpoints/nobody"},
    ]
    for fields in grpc_bad:
        with pytest.raises(grpc.RpcError) as caught:
            await answer(serving, **fields)
        assert from_rpc_error(caught.value).code in {"INVALID_ARGUMENT", "NOT_FOUND"}
    with pytest.raises(grpc.RpcError) as caught:
        await answer(serving, prompt={"text": "x" * (10 << 20)})
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}
    for change, status in (
        ({"messages": [image]}, 400),
        ({"model": "nobody"}, 404),
        ({"messages": [{"role": "user", "content": "x" * (10 << 20)}]}, 413),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": 5}}}}, 400),
    ):
        with pytest.raises(openai.APIStatusError) as refused:
            await client.chat.completions.create(**chat() | change)
        assert refused.value.status_code == status
    while piece := await running.read():
        texts.append(piece.text_delta)
    assert "".join(texts) == expected


async def test_template_that_fails_is_an_error_of_the_request(tmp_path, serving):
    """Another model, whose template divides by zero for one word and calls what it must not for another."""
    template = (
        "{% if 'zero' in messages[0].content %}{{ 1 // 0 }}{% endif %}"
        "{% if 'class' in messages[0].content %}{{ messages.__class__.__mro__ }}{% endif %}{{ messages[0].content }}"
    )
    folder = make_tiny_model(tmp_path / "odd")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
    async with world_in(tmp_path / "home", folder) as world:
        await world.ready()
        for word in ("zero", "class"):
            messages = [{"role": "user", "content": word}]
            error = await refusal(answer(world, prompt={"messages": messages}))
            assert isinstance(error, InvalidRequest)
            assert error.fields["field"] == "messages"
        assert (await answer(world)).text


async def test_many_requests_at_once_are_all_answered(client):
    asks = [chat(seed=i, max_tokens=8) for i in range(40)]
    wholes = await asyncio.gather(*(client.chat.completions.create(**ask) for ask in asks))
    assert {whole.usage.completion_tokens <= 8 for whole in wholes} == {True}
