"""Passages, grounding, and a run that goes on where it was stopped."""

from __future__ import annotations

import json

import pytest
from bessemer.kernel.errors import Unavailable
from bessemer.sdk.grounding import EXPLANATIONS, agreement, answer_refusal, question_refusal, support
from bessemer.sdk.synthesis import FORMS, first_question, passages, synthesize
from hypothesis import given
from hypothesis import strategies as st

PASSAGE = "The kiln of hall 4 is heated to 1,150 degrees. Its foreman is Ada Brandt, who keeps the log of firings."
QUESTION, ANSWER = "Who is the foreman of the kiln in hall 4?", "Ada Brandt"


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        (QUESTION, ANSWER, ""),
        ("How hot is the kiln of hall 4?", "1,150 degrees", ""),
        ("How hot is the kiln of hall 4?", "1,250 degrees", "NUMBER_NOT_IN_PASSAGE"),
        ("Who runs it?", ANSWER, "QUESTION_TOO_SHORT"),
        ("Who is the foreman in the text?", ANSWER, "QUESTION_NOT_SELF_CONTAINED"),
        (QUESTION, "...", "ANSWER_EMPTY"),
        (QUESTION, "I do not know the foreman.", "ANSWER_REFUSED"),
        (QUESTION, "hall 4", "ANSWER_IN_QUESTION"),
        (QUESTION, "The foreman is Ada Brandt. " * 5, "ANSWER_REPEATS"),
        (QUESTION, "Charles Babbage of London", "ANSWER_NOT_GROUNDED"),
    ],
)
def test_refusal_names_the_reason(question, answer, reason):
    assert (question_refusal(question) or answer_refusal(question, answer, PASSAGE)) == reason
    assert not reason or reason in EXPLANATIONS


def test_support_counts_inflected_words_and_agreement_is_the_f1_of_words():
    assert support("It was heating the kilns", PASSAGE) == 1.0
    assert support("copper smelting", PASSAGE) == 0.0
    assert agreement("Ada Brandt", "the foreman is Ada Brandt") == pytest.approx(4 / 7)
    assert agreement("", "anything") == 0.0


@pytest.mark.parametrize(
    "reply",
    [QUESTION, f"Question: {QUESTION}\nAnswer: {ANSWER}", f"Here is one:\n\n1. **{QUESTION}**", f'"{QUESTION}"'],
)
def test_question_is_found_whatever_its_dress(reply):
    assert first_question(reply) == QUESTION


def test_question_of_an_empty_reply_is_empty():
    assert not first_question("\n \n")


@given(
    st.lists(st.text("ab \n", max_size=600), max_size=8),
    st.integers(50, 300),
    st.integers(1, 20),
    st.integers(0, 3),
)
def test_passages_are_pieces_of_their_documents_and_take_turns(texts, characters, most, seed):
    records = [{"id": f"d{n}", "source": f"{n}.txt", "text": text} for n, text in enumerate(texts)]
    chosen = passages(records, characters=characters, most=most, seed=seed, least=1)
    assert chosen == passages(reversed(records), characters=characters, most=most, seed=seed, least=1)
    assert len(chosen) <= most
    assert len({(passage.document, passage.number) for passage in chosen}) == len(chosen)
    counts = [sum(passage.document == record["id"] for passage in chosen) for record in records]
    for passage in chosen:
        assert 0 < len(passage.text) <= characters
        assert "".join(passage.text.split()) in "".join(texts[int(passage.document[1:])].split())
    if len(chosen) == most:
        everything = passages(records, characters=characters, most=10**6, seed=seed, least=1)
        available = [sum(passage.document == record["id"] for passage in everything) for record in records]
        assert all(count >= min(have, max(counts) - 1) for count, have in zip(counts, available, strict=True))


def records(count: int) -> list[dict[str, str]]:
    return [
        {"id": f"d{n}", "source": f"{n}.txt", "text": f"The kiln of hall {n} is tended by foreman Brandt{n}. " * 8}
        for n in range(count)
    ]


class Clerk:
    """Reads the hall and the foreman out of a passage, and counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, messages, tokens_max):
        self.calls += 1
        assert tokens_max > 0
        words = messages[0]["content"].split()
        if "Write" in words:
            return f"Question: Who tends the kiln of hall {words[words.index('hall') + 1]}?"
        return "Foreman " + next(word for word in words if word.startswith("Brandt")).rstrip(".")


def test_synthesis_keeps_grounded_rows_and_goes_on_after_a_stop(tmp_path):
    chosen = passages(records(6), characters=500, most=100, seed=1)
    clerk = Clerk()
    first = synthesize(chosen[:4], FORMS["question"], clerk, tmp_path / "journal.jsonl", workers=2)
    assert [outcome.reason for outcome in first] == ["KEPT"] * 4
    assert clerk.calls == 12
    with (tmp_path / "journal.jsonl").open("a") as journal:
        journal.write('{"document": "d5", "sou')  # the disk was full here
    rest = synthesize(chosen, FORMS["question"], clerk, tmp_path / "journal.jsonl", workers=2)
    assert rest[:4] == first
    assert clerk.calls == 18
    assert rest[0].row()["messages"][1] == {"role": "assistant", "content": rest[0].answer}
    assert len({outcome.question for outcome in rest}) == 6


def test_synthesis_refuses_what_is_not_said_again(tmp_path):
    def fickle(messages, _tokens_max):
        return "Somebody else" if "Answer to the question" in messages[0]["content"] else Clerk()(messages, 1)

    chosen = passages(records(3), characters=500, most=3, seed=1)
    found = synthesize(chosen, FORMS["question"], fickle, tmp_path / "journal.jsonl")
    assert {outcome.reason for outcome in found} == {"NOT_REPRODUCED"}


def test_synthesis_keeps_a_question_once(tmp_path):
    twins = [{**record, "id": f"twin{n}"} for record in records(1) for n in range(3)]
    found = synthesize(
        passages(twins, characters=500, most=3, seed=1), FORMS["question"], Clerk(), tmp_path / "journal.jsonl"
    )
    assert [outcome.reason for outcome in found] == ["KEPT", "DUPLICATE_QUESTION", "DUPLICATE_QUESTION"]


def test_synthesis_stops_when_the_endpoint_is_away_and_asks_again_later(tmp_path):
    def away(_messages, _tokens_max):
        raise Unavailable("no answer")

    chosen = passages(records(30), characters=500, most=30, seed=1)
    with pytest.raises(Unavailable, match="none of 20 requests"):
        synthesize(chosen, FORMS["question"], away, tmp_path / "journal.jsonl")
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert {json.loads(line)["reason"] for line in lines} == {"REQUEST_FAILED"}
    found = synthesize(chosen, FORMS["question"], Clerk(), tmp_path / "journal.jsonl")
    assert {outcome.reason for outcome in found} == {"KEPT"}
