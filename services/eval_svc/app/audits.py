"""Audits: what changed in the answers of two runs, beside their scores."""

from __future__ import annotations

import asyncio

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.common.v1.job_pb2 import JOB_STATE_SUCCEEDED
from bessemer.api.eval.v1 import audit_service_pb2 as pb
from bessemer.api.eval.v1.evaluation_pb2 import EvaluationRun
from bessemer.artifacts.blobs import Blobs
from bessemer.kernel.errors import FailedPrecondition
from bessemer.kernel.ids import project_of
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store

from eval_svc.domain.audit import Answers, Limits, audit
from eval_svc.domain.results import CaseResult, parse_results

__all__ = ["Audits"]


class Audits:
    """Use case of audits."""

    def __init__(self, store: Store, objects: ObjectStore) -> None:
        self._store = store
        self._objects = objects

    async def audit(self, request: pb.AuditRunsRequest) -> pb.RunAudit:
        """Compare the answers of two runs on every suite both ran.

        Raises: FailedPrecondition if a run has not succeeded, or they have no suite in common.
        """
        names = (request.baseline_run, request.candidate_run)
        baseline, candidate = await self._store.read(lambda tx: [tx.get(name, EvaluationRun) for name in names])
        for run in (baseline, candidate):
            if run.status.state != JOB_STATE_SUCCEEDED:
                raise FailedPrecondition(
                    f"{run.name} has not succeeded; only such runs have answers to audit",
                    reason="JOB_STATE_INVALID",
                    resource=run.name,
                )
        suites = await asyncio.to_thread(self._answers, baseline, candidate, set(request.proxy_suites))
        if not suites:
            raise FailedPrecondition(
                f"{baseline.name} and {candidate.name} have no suite in common; run both on the same suites",
                reason="FIELD_INVALID",
            )
        findings = await asyncio.to_thread(audit, suites, _limits(request.limits))
        return pb.RunAudit(
            baseline_run=baseline.name,
            candidate_run=candidate.name,
            num_answers=sum(len(suite.baseline) for suite in suites),
            findings=[
                pb.AuditFinding(
                    check=found.check,
                    baseline=found.baseline,
                    candidate=found.candidate,
                    limit=found.limit,
                    p_value=found.p_value,
                    breached=found.breached,
                    explanation=found.explanation,
                )
                for found in findings
            ],
            breached=any(found.breached for found in findings),
        )

    def _answers(self, baseline: EvaluationRun, candidate: EvaluationRun, proxies: set[str]) -> list[Answers]:
        before = {result.suite: result for result in baseline.results}
        found = []
        for result in candidate.results:
            earlier = before.get(result.suite)
            if earlier is not None and earlier.suite_sha256 == result.suite_sha256:
                pair = _paired(self._load(earlier.case_results), self._load(result.case_results))
                found.append(Answers(result.suite, *pair, is_proxy=result.suite in proxies))
        return [one for one in found if one.baseline]

    def _load(self, ref: ArtifactRef) -> list[CaseResult]:
        return parse_results(Blobs(self._objects, project_of(ref.key)).get_bytes(ref))


def _paired(before: list[CaseResult], after: list[CaseResult]) -> tuple[list[CaseResult], list[CaseResult]]:
    by_id = {result.id: result for result in after}
    common = [result for result in before if result.id in by_id]
    return common, [by_id[result.id] for result in common]


def _limits(message: pb.AuditLimits) -> Limits:
    given = {field.name: value for field, value in message.ListFields()}
    return Limits(**given)
