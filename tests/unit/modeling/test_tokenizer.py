from __future__ import annotations

import pytest
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.modeling.chat import ChatTemplate
from bessemer.modeling.tokenizer import Tokenizer

from tests.fixtures.tiny_model import make_tiny_model

TALK = [
    {"role": "user", "content": "What is it?"},
    {"role": "assistant", "content": "Müller's 🙂 answer."},
    {"role": "user", "content": "and now"},
    {"role": "assistant", "content": "no more"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def test_render_chat_equals_transformers(folder):
    transformers = pytest.importorskip("transformers")
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folder), Tokenizer.from_folder(folder)
    for prompt in (False, True):
        expected = theirs.apply_chat_template(TALK, add_generation_prompt=prompt, return_dict=False)
        assert ours.render_chat(TALK, prompt) == expected


def test_render_chat_with_mask_marks_answers_and_their_end_only(folder):
    tokenizer = Tokenizer.from_folder(folder)
    ids, mask = tokenizer.render_chat_with_mask(TALK)
    assert ids == tokenizer.render_chat(TALK, add_generation_prompt=False)
    marked = tokenizer.backend.decode([i for i, m in zip(ids, mask, strict=True) if m], skip_special_tokens=False)
    assert marked == "Müller's 🙂 answer.<|im_end|>no more<|im_end|>"


def test_decode_and_stream_give_back_the_text(folder):
    tokenizer = Tokenizer.from_folder(folder)
    text = "Zoë said: 你好 🙂, 42!"
    ids = tokenizer.encode(text)
    assert tokenizer.decode([1, *ids, 2]) == text
    stream = tokenizer.stream()
    assert "".join(stream.feed(i) for i in ids) == text
    assert tokenizer.encode_batch([text, "a"]) == [ids, tokenizer.encode("a")]
    assert tokenizer.eos_ids == {2}


def test_tokenizer_damaged_file_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="missing"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InvalidRequest, match="not valid"):
        Tokenizer.from_folder(tmp_path)


def test_tokenizer_without_template_says_so(folder, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(FailedPrecondition, match="chat template"):
        Tokenizer.from_folder(tmp_path).render_chat(TALK)


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception('not like this') }}",
        "{{ messages[0]['content'] + 1 }}",
        "{% include 'x' %}",
    ],
)
def test_chat_template_may_not_leave_its_sandbox(source):
    with pytest.raises(InvalidRequest):
        ChatTemplate(source, {}).render(TALK, add_generation_prompt=True)


def test_chat_template_that_rewrites_earlier_turns_is_refused():
    source = "{% for m in messages %}{% if loop.last %}[last]{% endif %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(InvalidRequest, match="message 1"):
        ChatTemplate(source, {}).assistant_spans(TALK, [])
