"""Results of other tools as runs: compared like our own, and marked, so that no gate takes them for a run of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.common.v1.job_pb2 import JOB_STATE_SUCCEEDED
from bessemer.api.eval.v1 import evaluation_service_pb2 as pb
from bessemer.api.eval.v1.evaluation_pb2 import (
    EvaluationInputs,
    EvaluationRun,
    EvaluationSuite,
    Interval,
    SuiteResult,
)
from bessemer.artifacts.blobs import Blobs
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.kernel.ids import id_of, new_id, project_of
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from eval_svc import codec
from eval_svc.config import CASES_BYTES_MAX, CONFIDENCE
from eval_svc.domain.cases import Grader, parse_cases
from eval_svc.domain.recorded import parse_recorded
from eval_svc.domain.results import CaseResult, format_results, summarise, why_invalid
from eval_svc.ports import DataCatalog, ModelCatalog

__all__ = ["Imports"]


class Imports:
    """Use case of runs whose results another tool recorded."""

    def __init__(self, store: Store, objects: ObjectStore, data: DataCatalog, models: ModelCatalog) -> None:
        self._store = store
        self._objects = objects
        self._data = data
        self._models = models

    async def create(self, request: pb.ImportEvaluationRunRequest) -> EvaluationRun:
        """Hold every score against the suite's cases and store the run as one that has succeeded.

        Raises: InvalidRequest for more than one suite, or a line that is about none of its cases; FailedPrecondition
        if too many cases have no score, or the suite measures perplexity, which needs the model itself.
        """
        given = request.evaluation_run
        if len(given.suites) != 1:
            raise InvalidRequest(
                f"a file is about one suite; name it, and import once per suite; got {len(given.suites)}",
                field="evaluation_run.suites",
            )
        suite = await self._store.read(lambda tx: tx.get(given.suites[0], EvaluationSuite))
        if codec.grader(suite.grader) is Grader.PERPLEXITY:
            raise FailedPrecondition(
                f"{suite.name} measures perplexity, of which other tools record no tokens; run it here",
                reason="FIELD_INVALID",
                resource=suite.name,
            )
        uploaded = await self._uploaded(given.imported.upload, request.parent)
        version = await self._models.version(given.model_version)
        result = await asyncio.to_thread(self._read, suite, uploaded)
        run = EvaluationRun(
            name=f"{request.parent}/evaluationRuns/{request.evaluation_run_id or new_id('run')}",
            model_version=version.name,
            suites=given.suites,
            results=[result],
            inputs=EvaluationInputs(model_manifest=version.manifest, suites=[suite]),
            imported=given.imported,
        )
        run.status.state, run.status.progress, run.status.stage = JOB_STATE_SUCCEEDED, 1.0, "imported"

        def write(tx: Tx) -> EvaluationRun:
            for moment in (run.status.queue_time, run.status.start_time, run.status.end_time):
                moment.FromDatetime(tx.clock.now())
            return tx.put(run, verb="imported")

        return await self._store.write(write)

    async def _uploaded(self, name: str, parent: str) -> ArtifactRef:
        upload = await self._data.upload(name)
        if not upload.complete or project_of(upload.name) != id_of(parent):
            raise FailedPrecondition(
                f"{upload.name} is not a complete upload of {parent}; PUT its bytes, then call CompleteUpload",
                reason="SOURCE_INVALID",
                resource=upload.name,
            )
        if upload.artifact.size_bytes > CASES_BYTES_MAX:
            raise InvalidRequest(
                f"results must be at most {CASES_BYTES_MAX} bytes; got {upload.artifact.size_bytes}",
                field="evaluation_run.imported.upload",
            )
        return upload.artifact

    def _read(self, suite: EvaluationSuite, uploaded: ArtifactRef) -> SuiteResult:
        """Score what was uploaded; reads cases and results, so call it in a thread."""
        blobs = Blobs(self._objects, project_of(suite.name))
        cases = parse_cases(blobs.get_bytes(suite.cases), codec.grader(suite.grader))
        results = parse_recorded(blobs.get_bytes(uploaded), cases)
        if suite.sealed:  # reasons are texts of whoever wrote the file
            results = [replace(each, unscored=each.unscored and "the tool gave no score") for each in results]
        if reason := why_invalid(results):
            raise FailedPrecondition(
                f"the results of {suite.name} give no valid score: {reason}",
                reason="FIELD_INVALID",
                resource=suite.name,
            )
        return _result(blobs, suite, results)


def _result(blobs: Blobs, suite: EvaluationSuite, results: Sequence[CaseResult]) -> SuiteResult:
    total = summarise(results, codec.grader(suite.grader))
    if suite.sealed:
        results = [replace(each, output="", target="", prompt_preview="", error="") for each in results]
    return SuiteResult(
        suite=suite.name,
        score=total.score,
        interval=Interval(low=total.low, high=total.high, confidence=CONFIDENCE),
        num_cases=total.num_cases,
        num_unscored=total.num_unscored,
        case_results=blobs.put_bytes(format_results(results), "application/jsonl"),
        suite_sha256=suite.cases.sha256,
    )
