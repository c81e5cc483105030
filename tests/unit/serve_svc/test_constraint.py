"""Answers that must have a form, by the tiny random model, which would never write one of itself."""

import json
import random
import re

import jsonschema
import pytest
import torch
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.load import load_model
from bessemer.modeling.tokenizer import Tokenizer
from serve_svc.engine.constraint import Grammars
from serve_svc.engine.loop import Arrival
from serve_svc.engine.protocol import Constraint, Failed, Sampling, Tool

from tests.fixtures.schemas import PERSON, random_schema
from tests.fixtures.tiny_model import make_tiny_model
from tests.unit.serve_svc.test_loop import Bench

CITY = Tool("weather", "d", json.dumps({"properties": {"city": {"enum": ["Köln", "Rom"]}}, "required": ["city"]}))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = make_tiny_model(tmp_path_factory.mktemp("model"))
    torch.set_num_threads(1)
    return load_model(folder), Tokenizer.from_folder(folder)


@pytest.fixture
def grammars(loaded):
    return grammars_of(loaded)


def grammars_of(loaded, tool_format="hermes"):
    model, tokenizer = loaded
    return Grammars(
        tokenizer.backend.to_str(),
        vocab_size=model.config.vocab_size,
        eos_ids=tokenizer.eos_ids,
        tool_format=tool_format,
        marker_ids={},
    )


def answers(loaded, grammars, constraints, *, tools=(), limit=400, **sampling):
    prompt = loaded[1].render_chat([{"role": "user", "content": "Who are you?"}])
    arrivals = [
        Arrival(str(i), prompt, Sampling(**{"temperature": 1.3, "seed": i} | sampling), limit, matcher)
        for i, matcher in enumerate(grammars.matcher(constraint, tools) for constraint in constraints)
    ]
    bench = Bench(*loaded, num_slots=8, num_waiting_max=10_000, budget=256)
    texts = [text for text, _ in bench.run(*arrivals).values()]
    assert {bench.pieces(arrival.id)[-1].finish for arrival in arrivals} == {"stop"}
    return texts


@pytest.mark.slow
def test_thousand_answers_by_random_schemas_are_all_valid(loaded, grammars):
    source = random.Random(7)
    schemas = [random_schema(source, source.choice([1, 1, 1, 2])) for _ in range(1000)]
    constraints = [Constraint("json_schema", json.dumps(schema)) for schema in schemas]
    texts = answers(loaded, grammars, constraints)
    for schema, text in zip(schemas, texts, strict=True):
        jsonschema.Draft202012Validator(schema).validate(json.loads(text))
    assert len(set(texts)) > 500


def test_answers_by_a_schema_are_valid_compiled_once_and_differ(loaded, grammars):
    texts = answers(loaded, grammars, [Constraint("json_schema", json.dumps(PERSON))] * 24)
    for text in texts:
        jsonschema.Draft202012Validator(PERSON).validate(json.loads(text))
    assert grammars.num_compiled == 1
    assert len(set(texts)) > 20


def test_answers_by_expression_choices_and_grammar_match(loaded, grammars):
    for text in answers(loaded, grammars, [Constraint("regex", "(ab|cd){2,4}-[0-9]{3}")] * 8):
        assert re.fullmatch("(ab|cd){2,4}-[0-9]{3}", text)
    choices = ["yes", "no", 'it "depends"', "größer"]
    texts = answers(loaded, grammars, [Constraint("choices", json.dumps(choices))] * 16)
    assert set(texts) <= set(choices)
    assert len(set(texts)) > 1
    lark = 'start: sum\nsum: NUMBER ("+" NUMBER)~1..3\nNUMBER: /[1-9][0-9]?/'
    for text in answers(loaded, grammars, [Constraint("grammar", lark)] * 8):
        assert re.fullmatch(r"[1-9][0-9]?(\+[1-9][0-9]?){1,3}", text)


def test_answers_without_luck_are_constrained_too(loaded, grammars):
    greedy = answers(loaded, grammars, [Constraint("json_schema", json.dumps(PERSON))], temperature=0)
    jsonschema.Draft202012Validator(PERSON).validate(json.loads(greedy[0]))
    (biased,) = answers(
        loaded, grammars, [Constraint("choices", '["no", "yes"]')], logit_bias=((loaded[1].encode("q")[0], 100.0),)
    )
    assert biased in {"yes", "no"}


@pytest.mark.parametrize(
    ("tool_format", "pattern"),
    [
        ("hermes", r'<tool_call>\n(\{"name": "weather", "arguments": (.*)\})\n</tool_call>'),
        ("mistral", r'\[TOOL_CALLS\]\[(\{"name": "weather", "arguments": (.*)\})\]'),
        ("llama3", r'(\{"name": "weather", "parameters": (.*)\})'),
    ],
)
def test_forced_call_is_written_as_the_model_would_and_fits_its_schema(loaded, tool_format, pattern):
    wish = Constraint("tool_calls", json.dumps({"names": ["weather"], "parallel": False, "optional": False}))
    closed = Tool("weather", "d", json.dumps(json.loads(CITY.parameters) | {"additionalProperties": False}))
    for text in answers(loaded, grammars_of(loaded, tool_format), [wish] * 6, tools=[closed, Tool("time")]):
        found = re.fullmatch(pattern, text)
        assert found
        json.loads(found[1])
        assert json.loads(found[2])["city"] in {"Köln", "Rom"}


@pytest.mark.parametrize(
    ("tool_format", "before", "call"),
    [
        ("hermes", "Let me see. <tool_call>\n", '{"name": "weather", "arguments": {"city": "Rom"}}\n</tool_call>'),
        ("mistral", "[TOOL_CALLS][", '{"name": "weather", "arguments": {"city": "Rom"}}]'),
        ("llama3", "", '{"name": "weather", "parameters": {"city": "Rom"}}'),
    ],
)
def test_strict_tool_binds_calls_that_the_model_may_make_and_no_text(loaded, tool_format, before, call):
    wish = Constraint("tool_calls", json.dumps({"names": ["weather"], "parallel": False, "optional": True}))
    closed = Tool("weather", "d", json.dumps(json.loads(CITY.parameters) | {"additionalProperties": False}))

    def taken(text):
        matcher = grammars_of(loaded, tool_format).matcher(wish, [closed])
        ids = loaded[1].encode(text)
        for index, token in enumerate(ids):
            if not matcher.allowed()[token]:
                return loaded[1].decode(ids[:index])
            matcher.consume(token)
        return text if matcher.allowed()[2] else text + "…"

    assert taken("Just text, no call: a < b.") == "Just text, no call: a < b."
    assert taken(before + call) == before + call
    assert not taken(before + call.replace("Rom", "Bonn")).endswith("onn")
    assert not taken(before + call.replace("weather", "rm")).endswith("rm")


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        (Constraint("json_schema", '{"type": "objct"}'), ["$.type"]),
        (Constraint("json_schema", '{"properties": {"a": {"items": {"$ref": "#/nope"}}}}'), ["$.properties.a.items"]),
        (Constraint("json_schema", '{"properties": {"a": {"not": {}}}}'), ["$.properties.a.not"]),
        (Constraint("json_schema", '{"$ref": "http://10.0.0.1/schema"}'), ["not present"]),
        (Constraint("json_schema", "{"), ["not JSON"]),
        (Constraint("json_schema", "[]"), ["an object"]),
        (Constraint("json_schema", "[" * 100_000), ["JSON"]),
        (Constraint("json_schema", '{"a": "' + "x" * 300_000 + '"}'), ["at most"]),
        (Constraint("regex", "a(b"), ["unclosed group"]),
        (Constraint("grammar", 'start: "a" b'), ['"b"', "1(8)"]),
    ],
)
def test_constraint_that_cannot_be_followed_is_refused_at_its_spot(grammars, constraint, words):
    with pytest.raises(InvalidRequest) as caught:
        grammars.matcher(constraint)
    assert caught.value.fields["field"] == f"sampling.constraint.{constraint.kind}"
    for word in words:
        assert word in caught.value.message


def test_tool_with_a_wrong_schema_is_refused_at_its_spot(grammars):
    wish = Constraint("tool_calls", '{"names": ["time"], "parallel": false, "optional": false}')
    with pytest.raises(InvalidRequest) as caught:
        grammars.matcher(wish, [CITY, Tool("time", "", '{"properties": {"zone": {"type": "text"}}}')])
    assert caught.value.fields == {"field": "prompt.tools[1].parameters", "spot": "$.properties.zone.type"}


def test_compiled_grammars_are_bounded(grammars):
    for number in range(80):
        grammars.matcher(Constraint("regex", f"a{{{number}}}"))
    assert len(grammars._compiled) == 64


def test_constraint_that_becomes_too_complex_ends_only_its_own_answer(loaded, grammars):
    class Hopeless:
        def allowed(self):
            raise InvalidRequest("too complex", field="sampling.constraint")

    prompt = loaded[1].render_chat([{"role": "user", "content": "Who are you?"}])
    bench = Bench(*loaded)
    bench.loop.take(Arrival("bad", prompt, Sampling(), 20, Hopeless()))
    answered = bench.run(Arrival("good", prompt, Sampling(temperature=0), 5))
    assert len(answered["good"][1]) == 5
    (failed,) = bench.pieces("bad")
    assert isinstance(failed, Failed)
    assert bench.slots.num_free == 4
