"""The worker on a tiny model: graders, and a whole run."""

from __future__ import annotations

import json
import math

import pytest
import torch
from bessemer.api.eval.v1.evaluation_pb2 import (
    EvaluationCells,
    EvaluationInputs,
    EvaluationRun,
    EvaluationSuite,
    GraderOptions,
)
from bessemer.api.worker.v1 import worker_service_pb2 as pb
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import FileEntry, Manifest, write_manifest
from bessemer.jobs.worker import Cancelled, TaskContext
from bessemer.kernel.errors import FailedPrecondition
from bessemer.svckit.objects import ObjectsConfig, open_objects
from eval_svc.codec import KINDS
from eval_svc.domain.cases import Case, Grader, Message, parse_cases
from eval_svc.domain.results import parse_results
from eval_svc.worker import child, choice, perplexity
from eval_svc.worker.answers import grade_answers
from eval_svc.worker.exact import normalise
from eval_svc.worker.graders import Graders
from eval_svc.worker.perplexity import windows
from eval_svc.worker.run import batches, run
from eval_svc.worker.subject import Subject

from tests.fixtures.tiny_model import make_tiny_model

TEXTS = [
    "The converter blows air through molten iron.",
    "Pressure, temperature and time decide the grain of the steel; water cools the mould.",
    "Ünïcödé — 漢字 and emoji 🙂 are bytes like any others.",
    "a",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def subject(folder):
    torch.set_num_threads(2)
    return Subject.load(folder)


@pytest.fixture(scope="module")
def reference(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def text(number, content):
    return Case(id=f"t{number}", cluster=f"t{number}", text=content)


def answered(subject, grader, cases, max_tokens, **options):
    with Graders() as graders:
        given = GraderOptions(**options)
        return grade_answers(
            subject, cases, max_tokens, lambda output, case: graders.mark(grader, output, case, given), ends=given.stop
        )


def ask(prompt, target, *, choices=(), number=0):
    return Case(
        id=f"q{number}", cluster="c", prompt=prompt, target=target, choices=choices,
        target_index=choices.index(target) if choices else 0,
    )  # fmt: skip


def test_perplexity_of_texts_equals_transformers(subject, reference):
    model, tokenizer = reference
    results = perplexity.grade(subject, [text(i, content) for i, content in enumerate(TEXTS)])
    for content, result in zip(TEXTS[:3], results, strict=False):
        ids = tokenizer(content, return_tensors="pt").input_ids
        loss = model(ids, labels=ids).loss.item()
        assert result.nll / result.tokens == pytest.approx(loss, rel=1e-5)
        assert result.score == pytest.approx(math.exp(loss), rel=1e-4)
        assert result.tokens == ids.shape[1] - 1
        assert len(content.encode()) - 8 <= result.bytes < len(content.encode())
    assert results[3].score is None
    assert "two tokens" in results[3].unscored


def test_perplexity_of_long_text_equals_transformers_with_the_same_windows(subject, reference):
    model, tokenizer = reference
    content = " ".join(TEXTS[:2] * 60)
    ids = tokenizer(content, return_tensors="pt").input_ids[0]
    assert len(ids) > 1100
    nll, done = 0.0, 1
    for begin in range(0, len(ids), 256):
        piece = ids[begin : begin + 512]
        end = begin + len(piece)
        with torch.no_grad():
            logprobs = model(piece[None]).logits[0, :-1].double().log_softmax(-1)
        values = logprobs.gather(1, piece[1:, None])[:, 0]
        nll -= float(values[done - begin - 1 :].sum()) if end > done else 0.0
        done = max(done, end)
    (result,) = perplexity.grade(subject, [text(0, content)])
    assert result.tokens == len(ids) - 1
    assert result.nll == pytest.approx(nll, rel=1e-5)


def test_perplexity_of_model_that_opens_texts_with_a_token_equals_transformers(tmp_path):
    import tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_tiny_model(tmp_path)
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    backend.save(str(folder / "tokenizer.json"))
    ids = AutoTokenizer.from_pretrained(folder)(TEXTS[0], return_tensors="pt").input_ids
    assert ids[0, 0] == 1
    loss = AutoModelForCausalLM.from_pretrained(folder)(ids, labels=ids).loss.item()
    (result,) = perplexity.grade(Subject.load(folder), [text(0, TEXTS[0])])
    assert result.nll / result.tokens == pytest.approx(loss, rel=1e-5)
    assert (result.tokens, result.bytes) == (ids.shape[1] - 1, len(TEXTS[0].encode()))


@pytest.mark.parametrize("window", [7, 8, 512])
@pytest.mark.parametrize("length", [0, 1, 2, 7, 8, 9, 11, 12, 16, 100, 513, 1025])
def test_windows_of_any_length_score_every_token_but_the_first_once(length, window):
    scored = []
    for begin, start in windows(length, window):
        assert start >= (1 if begin == 0 else window // 2)
        scored += range(begin + start, min(length, begin + window))
    assert scored == list(range(1, length))


def test_choice_picks_the_likeliest_per_byte(subject, reference):
    model, tokenizer = reference
    options = ("Paris", "a furnace", "two and three", "steel")
    case = ask("What is the capital of France? Answer:", "steel", choices=options)
    (result,) = choice.grade(subject, [case], 0)
    values = []
    start = len(tokenizer(case.prompt).input_ids)
    for option in options:
        ids = tokenizer(f"{case.prompt} {option}", return_tensors="pt").input_ids
        with torch.no_grad():
            logprobs = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        values.append(float(logprobs[start - 1 :].sum()) / len(option))
    assert result.output == options[values.index(max(values))]
    assert result.score == float(result.output == "steel")
    assert result.nll == pytest.approx(-values[3] * len("steel"), rel=1e-4)


def test_choice_of_conversation_and_of_too_long_question(subject):
    chat = (Message(role="user", content="How many are two and three?"),)
    results = choice.grade(
        subject,
        [ask(chat, "Five", choices=("Five", "Six")), ask("word " * 2000, "a", choices=("a", "b"), number=1)],
        0,
    )
    assert results[0].score in {0.0, 1.0}
    assert results[1].score is None
    assert "context" in results[1].unscored


def test_exact_generates_what_transformers_generates(subject, reference):
    model, tokenizer = reference
    prompt = "The furnace holds the charge until"
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    written = model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :]
    expected = tokenizer.decode(written, skip_special_tokens=True).strip()
    case = ask(prompt, expected.upper() + "!")
    good, bad = answered(subject, Grader.EXACT, [case, ask(prompt, "no", number=1)], 8)
    assert good.output == expected
    assert (good.score, bad.score) == (1.0, 0.0)


def test_exact_of_prompt_without_room_for_an_answer_is_unscored(subject):
    (result,) = answered(subject, Grader.EXACT, [ask("a " * 505, "x")], 64)
    assert result.score is None
    assert "512" in result.unscored


@pytest.mark.parametrize(
    ("answer", "target", "same"),
    [
        ("  The Answer. ", "the answer", True),
        ("1,000 kg", "1000 kg", True),
        ("3.5", "35", False),
        ("-5", "5", False),
        ("“Paris”", "paris", True),
        ("well-known", "well known", True),
        ("1889", "1888", False),
        ("12:30", "1230", False),
    ],
)
def test_normalise_keeps_what_carries_meaning(answer, target, same):
    assert (normalise(answer) == normalise(target)) is same


def test_regex_that_is_invalid_or_slow_is_unscored_and_the_next_one_works(monkeypatch):
    monkeypatch.setattr(child, "TIME_LIMIT_S", 0.5)
    with Graders() as graders:

        def search(output, pattern):
            return graders.mark(Grader.REGEX, output, ask("?", pattern), GraderOptions())

        assert search("born in 1889", r"\b18\d\d\b").score == 1.0
        assert "not valid" in search("x", "(").reason
        assert "more than" in search("a" * 40 + "!", r"(a+)+$").reason
        assert search("born in 1889", r"\b19\d\d\b").score == 0.0


def test_regex_grades_what_the_model_says(subject):
    results = answered(subject, Grader.REGEX, [ask("The furnace", ".", number=0), ask("The furnace", "(", number=1)], 8)
    assert results[0].score in {0.0, 1.0}
    assert results[1].score is None


def test_batches_of_long_cases_are_small():
    cases = [text(i, "x" * 6000) for i in range(5)] + [text(9, "y" * 50_000)]
    assert [len(batch) for batch in batches(cases)] == [2, 2, 1, 1]
    assert [len(batch) for batch in batches([text(i, "short") for i in range(20)])] == [16, 4]


class Link:
    """Records heartbeats; asks for a cancel when told to."""

    def __init__(self, *, cancel=False):
        self.beats = []
        self.cancel = cancel

    def beat(self, request):
        self.beats.append(request)
        return pb.HeartbeatResponse(cancel=self.cancel)


@pytest.fixture
def blobs(tmp_path):
    return Blobs(open_objects(ObjectsConfig(f"file://{tmp_path}/objects")), "p")


def job(blobs, folder, suites):
    files = tuple(
        FileEntry.of(path.name, blobs.put_file(path, "application/octet-stream")) for path in sorted(folder.iterdir())
    )
    manifest = write_manifest(blobs, Manifest("model", files, {}))
    messages = [
        EvaluationSuite(
            name=f"projects/p/evaluationSuites/{name}",
            grader=KINDS[grader],
            cases=blobs.put_bytes("\n".join(map(json.dumps, records)).encode(), "application/jsonl"),
            max_tokens=8,
            sealed=sealed,
        )
        for name, grader, records, sealed in suites
    ]
    return EvaluationRun(
        name="projects/p/evaluationRuns/r", inputs=EvaluationInputs(model_manifest=manifest, suites=messages)
    )


def context(blobs, work, tmp_path, link, saved_state=b""):
    task = pb.Task(
        name=work.name, kind="evaluationRuns", epoch=1, job=work.SerializeToString(), saved_state=saved_state
    )
    return TaskContext(task, objects=blobs.objects, workdir=tmp_path / "work", link=link)


SUITES = [
    ("texts", Grader.PERPLEXITY, [{"id": f"t{i}", "text": content} for i, content in enumerate(TEXTS[:3])], False),
    ("facts", Grader.CHOICE, [{"id": "c", "prompt": "Q", "choices": ["a", "b"], "target": "a"}], True),
    ("answers", Grader.EXACT, [{"id": f"e{i}", "prompt": f"Say {i}", "target": str(i)} for i in range(20)], False),
]


def test_run_of_three_suites_scores_all_and_can_go_on_where_it_was(blobs, folder, tmp_path):
    work, link = job(blobs, folder, SUITES), Link()
    done = run(context(blobs, work, tmp_path, link))
    assert [result.suite.rsplit("/", 1)[-1] for result in done.result.results] == ["texts", "facts", "answers"]
    texts, facts, answers = done.result.results
    assert texts.interval.low < texts.score < texts.interval.high
    assert texts.bits_per_byte > 1
    assert answers.num_cases == 20
    assert list(done.artifacts) == [result.case_results for result in done.result.results]
    assert parse_results(blobs.get_bytes(texts.case_results))[0].prompt_preview
    sealed = parse_results(blobs.get_bytes(facts.case_results))[0]
    assert (sealed.prompt_preview, sealed.target, sealed.output) == ("", "", "")
    saved = [beat.saved_state for beat in link.beats if beat.saved_state]
    assert len(saved) == 3
    kept = EvaluationCells.FromString(saved[1]).cells
    assert [cell.suite.rsplit("/", 1)[-1] for cell in kept] == ["texts", "facts"]
    assert b"Q" not in blobs.get_bytes(kept[1].case_results)
    again = run(context(blobs, work, tmp_path, Link(), saved_state=saved[1]))
    assert again.result.results[0] == texts
    assert again.result.results[2].case_results == answers.case_results


def test_run_with_too_many_unscored_cases_fails_and_says_why(blobs, folder, tmp_path):
    suite = ("texts", Grader.PERPLEXITY, [{"id": f"t{i}", "text": content} for i, content in enumerate(TEXTS)], False)
    with pytest.raises(FailedPrecondition) as failed:
        run(context(blobs, job(blobs, folder, [suite]), tmp_path, Link()))
    assert "1 of 4 cases" in failed.value.message
    assert "two tokens" in failed.value.message


def test_run_that_is_cancelled_stops_between_batches(blobs, folder, tmp_path):
    link = Link(cancel=True)
    cancelled = context(blobs, job(blobs, folder, SUITES), tmp_path, link)
    cancelled.beat()
    with pytest.raises(Cancelled):
        run(cancelled)


def test_run_of_conversations_on_model_without_template_is_refused(blobs, folder, tmp_path):
    plain = make_tiny_model(tmp_path / "plain")
    settings = json.loads((plain / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (plain / "tokenizer_config.json").write_text(json.dumps(settings))
    chat = [{"id": "a", "prompt": [{"role": "user", "content": "Hi"}], "target": "Hello"}]
    with pytest.raises(FailedPrecondition, match="chat template"):
        run(context(blobs, job(blobs, plain, [("chat", Grader.EXACT, chat, False)]), tmp_path, Link()))


def test_cases_of_a_suite_survive_the_way_to_the_worker():
    cases = parse_cases(b'{"id":"a","prompt":[{"role":"system","content":"Be brief."}],"target":"x"}', Grader.EXACT)
    assert cases[0].prompt == (Message(role="system", content="Be brief."),)
