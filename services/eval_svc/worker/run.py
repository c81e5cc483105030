"""One run: fetch the model, grade cell after cell, look for the cases in training data, add up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bessemer.api.common.v1.metric_pb2 import MetricPoint
from bessemer.api.eval.v1.evaluation_pb2 import (
    EvaluationResult,
    EvaluationRun,
    EvaluationSuite,
    Interval,
    SuiteResult,
)
from bessemer.api.train.v1.model_pb2 import ParityReport
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.jobs.peers import open_peer
from bessemer.jobs.worker import Done, TaskContext
from bessemer.kernel.errors import FailedPrecondition
from bessemer.kernel.ids import id_of, project_of
from bessemer.modeling import numerics
from bessemer.modeling.parity.limits import LIMITS
from bessemer.modeling.parity.subjects import TorchSubject, probes_of

from eval_svc.config import CONFIDENCE, CONTAMINATED_NAMED_MAX, MAX_TOKENS_DEFAULT
from eval_svc.domain.cases import Case, Grader, parse_cases
from eval_svc.domain.results import CaseResult, format_results, parse_results, summarise, why_invalid
from eval_svc.domain.served import TaskCheck, check_task
from eval_svc.worker import choice, perplexity
from eval_svc.worker.answers import grade_answers
from eval_svc.worker.cells import Cells, splits
from eval_svc.worker.contamination import CaseIndex, format_overlaps, parse_overlaps, texts_of, untraceable
from eval_svc.worker.endpoint import Endpoint
from eval_svc.worker.graders import Graders, grader_of
from eval_svc.worker.served import grade_served_answers, grade_served_choices, grade_served_texts
from eval_svc.worker.served_parity import compare_served, report_of
from eval_svc.worker.subject import Subject

__all__ = ["run"]

Grade = Callable[[Sequence[Case]], list[CaseResult]]
# A batch is what runs between two looks at whether somebody wants the run to stop: some seconds on two cores.
BATCH_CASES = 16
BATCH_CHARACTERS = 16_000
# Generating a token costs about this many times reading one, because reading shares the weights among many.
GENERATION_COST = 4
# Of each suite are asked of the model's own files too when an endpoint is measured: enough to see one that is wrong.
TASK_CASES = 64
# Below this threads lose more by waiting for each other than they gain: sixteen times slower on a busy host.
SMALL_MODEL_PARAMETERS = 10_000_000


@dataclass(frozen=True)
class Work:
    """A suite with its cases, in the order they are asked, and as they are stored."""

    suite: EvaluationSuite
    grader: Grader
    cases: list[Case]
    stored: list[Case]

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
        self._done, self._skipped, self._start = 0.0, 0.0, time.monotonic()

    @property
    def fraction(self) -> float:
        """Share of the work that is done, 0 to 1."""
        return min(1.0, self._done / self._total)

    def skip(self, cost: float) -> None:
        """Count work that an earlier attempt did."""
        self._done += cost
        self._skipped += cost

    def add(self, cost: float, stage: str) -> None:
        """Count work as done and report it."""
        self._done += cost
        elapsed_s = time.monotonic() - self._start
        left_s = elapsed_s * (self._total - self._done) / max(self._done - self._skipped, 1e-9)
        self._context.report(stage=stage, fraction=self.fraction, remaining_s=max(0.0, left_s))


def run(context: TaskContext) -> Done:
    """Grade every suite of the run; cells that an earlier attempt finished are not computed again."""
    job = EvaluationRun.FromString(context.job)
    blobs = Blobs(context.objects, project_of(context.name))
    cells = Cells(context, blobs)
    works = [_load(blobs, suite) for suite in job.inputs.suites]
    progress = Progress(context, total=sum(work.cost(work.cases) for work in works) or 1.0)
    folder = _model(context, blobs, job)
    subject = Subject.load(folder)
    numerics.prepare(_threads(subject), "fp32")
    endpoint = Endpoint(open_peer("serve"), job.endpoint, job.model_version) if job.endpoint else None
    judges = {judge.name: judge for judge in job.inputs.judges}
    for work in works:
        with Graders(judges) as graders:
            local = _grader(subject, work, graders)
            _grade(context, cells, work, _asker(endpoint, work, graders) if endpoint else local, progress)
            if endpoint:
                _grade_again(context, cells, work, local)
    if job.inputs.training_data:
        _search(context, blobs, cells, job, works)
    result = EvaluationResult(results=[_result(blobs, cells, job, work) for work in works])
    if endpoint:
        context.report(stage="holding the endpoint against the model's files", fraction=1.0)
        reference = TorchSubject(folder, subject.model)
        tasks = _tasks(cells, works, precision_of(job))
        result.parity.CopyFrom(_parity(context, job, tasks, reference, endpoint))
    points = [MetricPoint(key=f"eval/{id_of(each.suite)}", step=0, value=each.score) for each in result.results]
    context.report(stage="adding up", fraction=1.0, metrics=points)
    return Done(result, artifacts=[each.case_results for each in result.results])


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
    return Work(suite, grader, sorted(cases, key=lambda case: (characters(case), case.id)), cases)


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


def _asker(endpoint: Endpoint, work: Work, graders: Graders) -> Grade:
    options = work.suite.options
    if work.grader is Grader.PERPLEXITY:
        return lambda cases: grade_served_texts(endpoint, cases)
    if work.grader is Grader.CHOICE:
        return lambda cases: grade_served_choices(endpoint, cases, options.choice_length)
    return lambda cases: grade_served_answers(
        endpoint,
        cases,
        work.max_tokens,
        lambda output, case: graders.mark(work.grader, output, case, options),
        ends=options.stop,
    )


def _model(context: TaskContext, blobs: Blobs, job: EvaluationRun) -> Path:
    context.report(stage="fetching the model", fraction=0.0)
    return fetch(blobs, read_manifest(blobs, job.inputs.model_manifest), context.workdir / "model")


def _threads(subject: Subject) -> int:
    small = subject.model.config.num_parameters < SMALL_MODEL_PARAMETERS
    return 1 if small else len(os.sched_getaffinity(0))


def _grade(context: TaskContext, cells: Cells, work: Work, grade: Grade, progress: Progress) -> None:
    """Compute every cell of a suite that is not finished."""
    parts = splits(work.cases)
    for number, part in enumerate(parts):
        stage = f"suite {id_of(work.suite.name)}, part {number + 1} of {len(parts)}"
        if cells.get(work.suite.name, number) is not None:
            progress.skip(work.cost(part))
            continue
        start, results = time.monotonic(), []
        for batch in batches(part):
            context.check()
            results += grade(batch)
            progress.add(work.cost(batch), stage)
        if work.suite.sealed:
            results = [replace(each, output="", target="", prompt_preview="", error="") for each in results]
        cells.keep(
            format_results(results),
            time.monotonic() - start,
            suite=work.suite.name,
            split=number,
            stage=stage,
            fraction=progress.fraction,
        )


def _grade_again(context: TaskContext, cells: Cells, work: Work, grade: Grade) -> None:
    """Ask the model's own files for the first cases of a suite, to hold the endpoint's answers against."""
    number = len(splits(work.cases))
    if cells.get(work.suite.name, number) is not None:
        return
    start, results = time.monotonic(), []
    for batch in batches(work.cases[:TASK_CASES]):
        context.check()
        results += grade(batch)
    stage = f"suite {id_of(work.suite.name)}, from the model's own files"
    cells.keep(
        format_results(results),
        time.monotonic() - start,
        suite=work.suite.name,
        split=number,
        stage=stage,
        fraction=1.0,
    )


def _tasks(cells: Cells, works: Sequence[Work], precision: str) -> list[TaskCheck]:
    """Compare the endpoint's answers to every suite with those of the model's own files."""
    checks = []
    for work in works:
        parts = len(splits(work.cases))
        local, *answered = (
            parse_results((cells.get(work.suite.name, number) or (b"", 0.0))[0]) for number in (parts, *range(parts))
        )
        asked = {each.id for each in local}
        served = [each for part in answered for each in part if each.id in asked]
        checks += check_task(id_of(work.suite.name), local, served, work.grader, precision)
    return checks


def _parity(
    context: TaskContext, job: EvaluationRun, tasks: Sequence[TaskCheck], reference: TorchSubject, endpoint: Endpoint
) -> ParityReport:
    """Return what the endpoint is beside the model's own files, on probes and on the suites."""
    precision, probes = precision_of(job), probes_of(reference)
    checks = compare_served(reference, endpoint, probes, precision=precision, check=context.check)
    return report_of(
        checks,
        tasks,
        reference_sha256=job.inputs.model_manifest.sha256,
        candidate_sha256=job.inputs.model_manifest.sha256,
        runtime=job.inputs.deployment,
        precision=precision,
        texts=len(probes.texts) + len(probes.conversations),
    )


def precision_of(job: EvaluationRun) -> str:
    """Return the number format whose limits hold for the endpoint of a run; the strictest if it does not say."""
    return job.inputs.precision if job.inputs.precision in LIMITS else "fp32"


def _search(context: TaskContext, blobs: Blobs, cells: Cells, job: EvaluationRun, works: Sequence[Work]) -> None:
    """Look through every dataset version of the model's training that is not finished, for cases of all suites."""
    index = CaseIndex()
    for work in works:
        index.add(work.suite.name, work.stored, work.grader, blobs.get_bytes(work.suite.contamination_hashes))
    for data in job.inputs.training_data:
        if cells.get("", dataset_version=data.dataset_version) is not None:
            continue
        stage = f"looking for cases in {'/'.join(data.dataset_version.split('/')[-3::2])}"
        context.report(stage=stage, fraction=1.0)
        start = time.monotonic()
        found, count = index.scan(_checked(context, texts_of(blobs, data.manifest)))
        cells.keep(
            format_overlaps(found, count),
            time.monotonic() - start,
            dataset_version=data.dataset_version,
            stage=stage,
            fraction=1.0,
        )


def _checked(context: TaskContext, texts: Iterator[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if number % 256 == 0:
            context.check()
        yield text


def _result(blobs: Blobs, cells: Cells, job: EvaluationRun, work: Work) -> SuiteResult:
    """Add up the cells of a suite.

    Raises: FailedPrecondition if too many of its cases have no score.
    """
    name, results, seconds = work.suite.name, [], 0.0
    for number in range(len(splits(work.cases))):
        data, took = cells.get(name, number) or (b"", 0.0)
        results += parse_results(data)
        seconds += took
    if reason := why_invalid(results):
        raise FailedPrecondition(f"suite {name} gives no valid score: {reason}", reason="FIELD_INVALID", resource=name)
    total = summarise(results, work.grader)
    result = SuiteResult(
        suite=name,
        score=total.score,
        interval=Interval(low=total.low, high=total.high, confidence=CONFIDENCE),
        num_cases=total.num_cases,
        num_unscored=total.num_unscored,
        seconds=seconds,
        tokens=total.tokens,
        suite_sha256=work.suite.cases.sha256,
        bits_per_byte=total.bits_per_byte,
    )
    if job.inputs.training_data:
        results = _with_contamination(result, results, cells, job, work)
    result.case_results.CopyFrom(blobs.put_bytes(format_results(results), "application/jsonl"))
    return result


def _with_contamination(
    result: SuiteResult, results: Sequence[CaseResult], cells: Cells, job: EvaluationRun, work: Work
) -> list[CaseResult]:
    """Say in a suite's result, and in those of its cases, in which dataset versions they stand."""
    found_in: dict[str, list[str]] = {}
    for data in job.inputs.training_data:
        overlaps, count = parse_overlaps((cells.get("", dataset_version=data.dataset_version) or (b"", 0.0))[0])
        own = [one for one in overlaps if one.suite == work.suite.name]
        given = [one.case for one in own if one.given]
        for case in given:
            found_in.setdefault(case, []).append(data.dataset_version)
        share = max((one.share for one in own), default=0.0)
        result.contamination.add(
            dataset_version=data.dataset_version,
            num_cases=len(given),
            largest_share=share,
            num_documents=count,
            cases=[] if work.suite.sealed else given[:CONTAMINATED_NAMED_MAX],
        )
    result.num_contaminated, result.num_untraceable = len(found_in), untraceable(work.stored, work.grader)
    clean = [each for each in results if each.id not in found_in and each.score is not None]
    if found_in and clean:
        total = summarise(clean, work.grader)
        result.clean_score = total.score
        result.clean_interval.low, result.clean_interval.high = total.low, total.high
        result.clean_interval.confidence = CONFIDENCE
    return [replace(each, found_in=found_in.get(each.id, ())) for each in results]
