"""Scores and vectors against plain references."""

import base64

import numpy as np
import pytest
import torch
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.load import load_model
from bessemer.modeling.score import token_logprobs
from bessemer.modeling.tokenizer import Tokenizer
from serve_svc.engine.loop import Arrival, Work
from serve_svc.engine.protocol import Embedded, Sampling, Scored
from serve_svc.engine.text import TokenBytes, keeping
from serve_svc.engine.work import embed, score

from tests.fixtures.tiny_model import make_tiny_model
from tests.unit.serve_svc.test_loop import Bench


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = make_tiny_model(tmp_path_factory.mktemp("model"))
    torch.set_num_threads(1)
    return load_model(folder), Tokenizer.from_folder(folder)


@pytest.mark.parametrize("num_top", [0, 4])
def test_score_equals_the_log_probability_of_the_whole_sequence(loaded, num_top):
    model, tokenizer = loaded
    prompt, *texts = (tokenizer.encode(text) for text in ("The capital of France is", " Paris.", " steel and slag"))
    names = TokenBytes(tokenizer.token_bytes)
    *steps, reply = score(model, "1", prompt, texts, num_top=num_top, names=names)
    assert steps == [None, None]
    assert isinstance(reply, Scored)
    assert reply.prompt_tokens == len(prompt)
    for ids, entries in zip(texts, reply.continuations, strict=True):
        expected = token_logprobs(model, prompt + ids)[len(prompt) - 1 :]
        assert [entry.logprob for entry in entries] == pytest.approx(expected.tolist(), abs=1e-4)
        assert [entry.token_id for entry in entries] == ids
        assert b"".join(bytes.fromhex(entry.hex) for entry in entries).decode() == tokenizer.decode(ids)
        assert {len(entry.top) for entry in entries} == {num_top}


def test_score_without_prompt_leaves_the_first_token_unscored(loaded):
    ids = loaded[1].encode("The furnace")
    *_, reply = score(loaded[0], "1", [], [ids], num_top=0, names=TokenBytes(loaded[1].token_bytes))
    assert reply.continuations[0][0].logprob is None
    expected = token_logprobs(loaded[0], ids).tolist()
    assert [entry.logprob for entry in reply.continuations[0][1:]] == pytest.approx(expected, abs=1e-4)


def test_score_beyond_the_context_says_so(loaded):
    with pytest.raises(InvalidRequest) as caught:
        list(score(loaded[0], "1", [5] * 500, [[5] * 20], num_top=0, names=TokenBytes(loaded[1].token_bytes)))
    assert caught.value.reason == "CONTEXT_TOO_LONG"


def test_embed_gives_unit_vectors_of_mean_states(loaded):
    texts = [loaded[1].encode(text) for text in ("The ladle pours the melt.", "Yes")]
    *_, reply = embed(loaded[0], "1", texts)
    assert isinstance(reply, Embedded)
    assert reply.tokens == sum(map(len, texts))
    for ids, vector in zip(texts, reply.vectors, strict=True):
        values = np.frombuffer(base64.b64decode(vector), "<f4")
        states = loaded[0](torch.tensor(ids), torch.arange(len(ids)), [len(ids)]).mean(0).detach()
        assert values == pytest.approx((states / states.norm()).numpy(), abs=1e-5)


def test_work_goes_on_between_the_steps_of_answers(loaded):
    bench = Bench(*loaded)
    prompt = loaded[1].render_chat([{"role": "user", "content": "Who are you?"}])
    bench.loop.take(Arrival("answer", prompt, Sampling(temperature=0), 30))
    bench.loop.take(Work("work", embed(loaded[0], "work", [[5, 6]] * 3)))
    bench.steps(6)
    assert [type(message) for message in bench.pieces("work")] == [Embedded]
    bench.steps(100)
    assert bench.text("answer") == Bench(*loaded).run(Arrival("answer", prompt, Sampling(temperature=0), 30))["answer"]


def test_token_bytes_of_every_token_are_those_of_texts(loaded):
    tokenizer = loaded[1]
    text = 'Ein großer Ofen, 漢字 und 😀: {"a": 1}\n'
    assert b"".join(map(tokenizer.token_bytes, tokenizer.encode(text))).decode() == text
    assert tokenizer.token_bytes(2) == b"<|im_end|>"


def test_keeping_writes_markers_out_and_leaves_the_rest_as_it_was():
    decode = keeping(lambda tokens: "".join(chr(t) for t in tokens if t > 2), {1: "[TOOL_CALLS]"})
    assert decode([97, 1, 98, 2, 1]) == "a[TOOL_CALLS]b[TOOL_CALLS]"
    assert decode([97, 2]) == "a"
