"""Training rows from documents through a served model: questions with answers, or instructions with responses.

The model is whatever the caller may reach with the caller's own credentials: an endpoint of the suite, or any server
that speaks the OpenAI API. Each passage is asked once and checked (`bessemer.sdk.grounding`); every outcome is written
to a journal, so that a stopped run goes on where it was and a finished one costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from bessemer.kernel.errors import BessemerError, Unavailable
from bessemer.sdk.grounding import AGREEMENT_MIN, agreement, answer_refusal, normal, question_refusal

__all__ = [
    "FORMS",
    "Form",
    "Generate",
    "Outcome",
    "Passage",
    "_read_journal",
    "openai_generator",
    "passages",
    "synthesize",
]

Messages = list[dict[str, str]]
Generate = Callable[[Messages, int], str]  # messages and a limit in tokens to the answer's text

_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Form:
    """What is asked of the model about a passage: first for a question or an instruction, then for its answer.

    Two requests, because small models lose a reply of two labelled parts more often than not.
    """

    wish: str
    rule: str
    tokens_max: int
    is_asked_again: bool  # a short answer must come again; long ones never do word for word

    def ask(self, passage: str) -> Messages:
        """Return the request for a question or an instruction."""
        return _turn(f"{passage}\n\n{self.wish}")

    def answer(self, passage: str, question: str) -> Messages:
        """Return the request for its answer."""
        return _turn(f"{passage}\n\n{question}\n{self.rule}")

    def answer_again(self, passage: str, question: str) -> Messages:
        """Return the request for its answer in another order of words."""
        return _turn(f"{self.rule}\nQuestion: {question}\n\n{passage}\n\nAnswer to the question:")


def first_question(reply: str) -> str:
    """Return the first line of a reply that says something, without label, number or quotes."""
    for line in reply.splitlines():
        text = re.sub(r"^[\W\d]*(?:(?:question|instruction|task)\W*:\s*)?", "", line, flags=re.IGNORECASE).strip('*"` ')
        if text and not text.endswith(":"):
            return text
    return ""


FORMS = {
    "question": Form(
        "Write one question that a colleague might ask and that this text answers. Name in the question what it is "
        "about. Write only the question.",
        "Answer in the words of the text, as briefly as possible.",
        100,
        is_asked_again=True,
    ),
    "instruction": Form(
        "Write one instruction that a colleague might give and whose result can be written from this text alone. Name "
        "in the instruction what it is about. Write only the instruction.",
        "Say only what the text says.",
        400,
        is_asked_again=False,
    ),
}


@dataclass(frozen=True)
class Passage:
    """A piece of a document."""

    document: str
    source: str
    number: int
    text: str


@dataclass(frozen=True)
class Outcome:
    """What came of one passage; `reason` is a key of `grounding.EXPLANATIONS`. What was not reached is empty."""

    document: str
    source: str
    passage: int
    reason: str
    question: str = ""
    answer: str = ""

    def row(self) -> dict[str, Any]:
        """Return the row a kept outcome stands for."""
        turns = [{"role": "user", "content": self.question}, {"role": "assistant", "content": self.answer}]
        return {"messages": turns, "source": self.source, "document": self.document}


def passages(
    texts: Iterable[Mapping[str, str]], *, characters: int, most: int, seed: int, least: int = 200
) -> list[Passage]:
    """Return up to `most` passages of about `characters`, cut at blank lines, documents taking turns in a seeded order.

    `texts` are records `{"id", "source", "text"}`. Passages below `least` characters are left out.
    """
    per_document: list[list[Passage]] = []
    for record in texts:
        pieces = [piece for piece in _pieces(record["text"], characters) if len(piece) >= least]
        found = [Passage(record["id"], record["source"], number, piece) for number, piece in enumerate(pieces)]
        if found:
            per_document.append(sorted(found, key=lambda passage: _rank(seed, passage.document, passage.number)))
    per_document.sort(key=lambda found: _rank(seed, found[0].document, -1))
    chosen: list[Passage] = []
    turn = 0
    while len(chosen) < most and any(turn < len(found) for found in per_document):
        chosen += [found[turn] for found in per_document if turn < len(found)]
        turn += 1
    return chosen[:most]


def synthesize(
    chosen: Sequence[Passage],
    form: Form,
    generate: Generate,
    journal: Path,
    *,
    workers: int = 8,
    report: Callable[[int, Counter[str]], None] = lambda _done, _reasons: None,
) -> list[Outcome]:
    """Ask for one row per passage and return every outcome, in the order of the passages.

    Passages whose outcome stands in `journal` are not asked again, but for requests that failed.
    Raises: Unavailable if nothing but failed requests came of the first 20 passages.
    """
    done = {(o.document, o.passage): o for o in _read_journal(journal) if o.reason != "REQUEST_FAILED"}
    known = {normal(o.question) for o in done.values() if o.reason == "KEPT"}
    todo = [passage for passage in chosen if (passage.document, passage.number) not in done]
    reasons = Counter(outcome.reason for outcome in done.values())
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a") as file, ThreadPoolExecutor(workers) as pool:
        for passage, found in zip(todo, pool.map(_asker(form, generate), todo), strict=True):
            reason = found.reason or ("DUPLICATE_QUESTION" if normal(found.question) in known else "KEPT")
            outcome = replace(found, reason=reason)
            if reason == "KEPT":
                known.add(normal(found.question))
            file.write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
            file.flush()
            done[passage.document, passage.number] = outcome
            reasons[outcome.reason] += 1
            if reasons.keys() == {"REQUEST_FAILED"} and reasons.total() >= 20:
                pool.shutdown(cancel_futures=True)
                raise Unavailable("the endpoint answered none of 20 requests; try it with: bessemer chat")
            report(len(done), reasons)
    return [done[passage.document, passage.number] for passage in chosen]


def _read_journal(path: Path) -> Iterator[Outcome]:
    """Yield the outcomes of a journal; a last line that was cut off is left out."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            yield Outcome(**json.loads(line))
        except (ValueError, TypeError):
            continue


def openai_generator(url: str, model: str, api_key: str, *, seed: int = 0) -> Generate:
    """Return a generator over a server that speaks the OpenAI API; `url` ends with `/v1`."""
    client = httpx.Client(base_url=url, timeout=_TIMEOUT_S, headers={"authorization": f"Bearer {api_key}"})

    def generate(messages: Messages, tokens_max: int) -> str:
        body = {"model": model, "messages": messages, "max_tokens": tokens_max, "temperature": 0, "seed": seed}
        try:
            answer = client.post("/chat/completions", json=body)
            answer.raise_for_status()
            return str(answer.json()["choices"][0]["message"]["content"])
        except (httpx.HTTPError, ValueError, LookupError) as error:
            raise Unavailable(f"{url} gave no completion: {error}") from error

    return generate


def _asker(form: Form, generate: Generate) -> Callable[[Passage], Outcome]:
    def ask(passage: Passage) -> Outcome:
        """Return what came of a passage; the reason is empty if nothing speaks against the row."""
        made = partial(Outcome, passage.document, passage.source, passage.number)
        try:
            question = first_question(generate(form.ask(passage.text), form.tokens_max))
            if reason := question_refusal(question):
                return made(reason, question)
            answer = generate(form.answer(passage.text, question), form.tokens_max).strip()
            reason = answer_refusal(question, answer, passage.text)
            if not reason and form.is_asked_again:
                again = generate(form.answer_again(passage.text, question), form.tokens_max)
                reason = "" if agreement(answer, again) >= AGREEMENT_MIN else "NOT_REPRODUCED"
        except BessemerError:
            return made("REQUEST_FAILED")
        return made(reason, question, answer)

    return ask


def _turn(content: str) -> Messages:
    return [{"role": "user", "content": content}]


def _pieces(text: str, characters: int) -> Iterator[str]:
    """Yield runs of whole paragraphs of at most `characters`; a longer paragraph is cut."""
    piece = ""
    for paragraph in re.split(r"\n\s*\n", text):
        for part in (paragraph[at : at + characters] for at in range(0, len(paragraph), characters)):
            if piece and len(piece) + len(part) + 2 > characters:
                yield piece.strip()
                piece = ""
            piece += ("\n\n" if piece else "") + part
    if piece.strip():
        yield piece.strip()


def _rank(seed: int, document: str, number: int) -> bytes:
    return hashlib.sha256(f"{seed}/{document}/{number}".encode()).digest()
