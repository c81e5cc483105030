"""One run: fetch the model, grade suite after suite, keep what is done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from bessemer.api.common.v1.metric_pb2 import MetricPoint
from bessemer.api.eval.v1.evaluation_pb2 import (
    EvaluationResult,
    EvaluationRun,
    EvaluationSuite,
    Interval,
    SuiteResult,
)
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.jobs.worker import Done, TaskContext
from bessemer.kernel.errors import FailedPrecondition
from bessemer.kernel.ids import id_of, project_of
from bessemer.modeling import numerics

from eval_svc.config import CONFIDENCE, MAX_TOKENS_DEFAULT
from eval_svc.domain.cases import Case, Grader, parse_cases
from eval_svc.domain.results import CaseResult, format_results, summarise, why_invalid
from eval_svc.worker import choice, perplexity
from eval_svc.worker.answers import grade_answers
from eval_svc.worker.graders import Graders, grader_of
from eval_svc.worker.subject import Subject

__all__ = ["run"]

Grade = Callable[[Sequence[Case]], list[CaseResult]]
# A batch is what runs between two looks at whether somebody wants the run to stop: some seconds on two cores.
BATCH_CASES = 16
BATCH_CHARACTERS = 16_000
# Generating a token costs about this many times reading one, because reading shares the weights among many.
GENERATION_COST = 4
# Below this threads lose more by waiting for each other than they gain: sixteen times slower on a busy host.
SMALL_MODEL_PARAMETERS = 10_000_000


@dataclass(frozen=True)
class Work:
    """A suite with its cases."""

    suite: EvaluationSuite
    grader: Grader
    cases: list[Case]

    @property
    def max_tokens(self) -> int:
        """Most tokens of an answer; 0 for graders that do not generate."""
        return 0 if self.grader in {Grader.PERPLEXITY, Grader.CHOICE} else self.suite.max_tokens or MAX_TOKENS_DEFAULT

    def cost(self, cases: Sequence[Case]) -> float:
        """Return roughly how many tokens of reading these cases take."""
        return sum(characters(case) / 4 + self.max_tokens * GENERATION_COST for case in cases)


class Progress:
    """How much is done, over all suites, and how long the rest takes."""

    def __init__(self, context: TaskContext, *, total: float) -> None:
        self._context, self._total = context, total
        self._done, self._start = 0.0, time.monotonic()

    def add(self, cost: float, stage: str) -> None:
        """Count work as done and report it."""
        self._done += cost
        fraction = min(1.0, self._done / self._total)
        elapsed_s = time.monotonic() - self._start
        self._context.report(stage=stage, fraction=fraction, remaining_s=elapsed_s * (1 - fraction) / fraction)


def run(context: TaskContext) -> Done:
    """Grade every suite of the run; suites that an earlier attempt finished are not graded again."""
    job = EvaluationRun.FromString(context.job)
    blobs = Blobs(context.objects, project_of(context.name))
    finished = list(EvaluationResult.FromString(context.saved_state).results)
    context.report(stage="fetching the model", fraction=0.0)
    folder = fetch(blobs, read_manifest(blobs, job.inputs.model_manifest), context.workdir / "model")
    subject = Subject.load(folder)
    small = subject.model.config.num_parameters < SMALL_MODEL_PARAMETERS
    numerics.prepare(1 if small else len(os.sched_getaffinity(0)), "fp32")
    done = {result.suite for result in finished}
    todo = [_load(blobs, suite) for suite in job.inputs.suites if suite.name not in done]
    progress = Progress(context, total=sum(work.cost(work.cases) for work in todo) or 1.0)
    judges = {judge.name: judge for judge in job.inputs.judges}
    for number, work in enumerate(todo, start=len(finished) + 1):
        stage = f"suite {id_of(work.suite.name)}, {number} of {len(job.inputs.suites)}"
        with Graders(judges) as graders:
            grade = _grader(subject, work, graders)
            result = _grade(context, blobs, work, grade=grade, progress=progress, stage=stage)
        finished.append(result)
        key = f"eval/{id_of(work.suite.name)}"
        context.report(
            stage=stage,
            fraction=len(finished) / len(job.inputs.suites),
            metrics=[MetricPoint(key=key, step=0, value=result.score)],
            saved_state=EvaluationResult(results=finished).SerializeToString(),
        )
    return Done(EvaluationResult(results=finished), artifacts=[result.case_results for result in finished])


def batches(cases: Sequence[Case]) -> Iterator[list[Case]]:
    """Cut cases into runs of few cases and few characters, at least one case each."""
    batch: list[Case] = []
    size = 0
    for case in cases:
        if batch and (len(batch) == BATCH_CASES or size + characters(case) > BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(case)
        size += characters(case)
    if batch:
        yield batch


def characters(case: Case) -> int:
    """Return how many characters a model has to read for a case."""
    prompt = len(case.prompt) if isinstance(case.prompt, str) else sum(len(turn.content) for turn in case.prompt)
    return len(case.text) + prompt * max(1, len(case.choices)) + sum(map(len, case.choices))


def _load(blobs: Blobs, suite: EvaluationSuite) -> Work:
    grader = grader_of(suite.grader)
    cases = parse_cases(blobs.get_bytes(suite.cases), grader)
    # Prompts of like length waste no room in a batch; ids keep the order the same every time.
    return Work(suite, grader, sorted(cases, key=lambda case: (characters(case), case.id)))


def _grader(subject: Subject, work: Work, graders: Graders) -> Grade:
    options = work.suite.options
    if work.grader is Grader.PERPLEXITY:
        return lambda cases: perplexity.grade(subject, cases)
    if work.grader is Grader.CHOICE:
        return lambda cases: choice.grade(subject, cases, options.choice_length)
    return lambda cases: grade_answers(
        subject,
        cases,
        work.max_tokens,
        lambda output, case: graders.mark(work.grader, output, case, options),
        ends=options.stop,
    )


def _grade(
    context: TaskContext, blobs: Blobs, work: Work, *, grade: Grade, progress: Progress, stage: str
) -> SuiteResult:
    start = time.monotonic()
    results: list[CaseResult] = []
    for batch in batches(work.cases):
        context.check()
        results += grade(batch)
        progress.add(work.cost(batch), stage)
    reason = why_invalid(results)
    if reason:
        raise FailedPrecondition(
            f"suite {work.suite.name} gives no valid score: {reason}", reason="FIELD_INVALID", resource=work.suite.name
        )
    total = summarise(results, work.grader)
    if work.suite.sealed:
        results = [replace(result, output="", target="", prompt_preview="", error="") for result in results]
    return SuiteResult(
        suite=work.suite.name,
        score=total.score,
        interval=Interval(low=total.low, high=total.high, confidence=CONFIDENCE),
        num_cases=total.num_cases,
        num_unscored=total.num_unscored,
        case_results=blobs.put_bytes(format_results(results), "application/jsonl"),
        seconds=time.monotonic() - start,
        tokens=total.tokens,
        suite_sha256=work.suite.cases.sha256,
        bits_per_byte=total.bits_per_byte,
    )
