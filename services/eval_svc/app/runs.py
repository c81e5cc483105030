"""Runs: suites against one model version, by a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.eval.v1 import evaluation_service_pb2 as pb
from bessemer.api.eval.v1.evaluation_pb2 import (
    GRADER_KIND_RECORDED,
    EvaluationInputs,
    EvaluationResult,
    EvaluationRun,
    EvaluationSuite,
    Judge,
)
from bessemer.api.serve.v1.deployment_pb2 import Precision
from bessemer.api.train.v1.model_pb2 import MODEL_SOURCE_IMPORTED, ModelVersion
from bessemer.artifacts.attestation import Signer, Statement
from bessemer.jobs.runtime import JobKind, JobRuntime
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest, NotFound
from bessemer.kernel.ids import new_id
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx
from google.protobuf import json_format

from eval_svc.config import PARENTS_MAX, PARITY_PREDICATE_TYPE, SUITES_PER_RUN_MAX
from eval_svc.domain.options import judges_of
from eval_svc.ports import DataCatalog, JudgeBook, ModelCatalog, ServingCatalog

__all__ = ["Runs", "evaluation_runs"]


class Runs:
    """Use cases of runs, but for those that all jobs share."""

    def __init__(
        self,
        store: Store,
        runtime: JobRuntime,
        models: ModelCatalog,
        data: DataCatalog,
        *,
        serving: ServingCatalog,
        judges: JudgeBook,
    ) -> None:  # fmt: skip
        self._store = store
        self._runtime = runtime
        self._models = models
        self._data = data
        self._serving = serving
        self._judges = judges

    async def create(self, request: pb.CreateEvaluationRunRequest) -> EvaluationRun:
        """Pin model and suites by digest and queue the run."""
        given = request.evaluation_run
        if not 1 <= len(given.suites) <= SUITES_PER_RUN_MAX or len(set(given.suites)) < len(given.suites):
            raise InvalidRequest(
                f"evaluation_run.suites must be 1 to {SUITES_PER_RUN_MAX} different suites; got {len(given.suites)}",
                field="evaluation_run.suites",
            )
        suites = await self._store.read(lambda tx: [tx.get(name, EvaluationSuite) for name in given.suites])
        for suite in suites:
            if suite.grader == GRADER_KIND_RECORDED:
                raise FailedPrecondition(
                    f"another tool marks the answers of {suite.name}; import its results with ImportEvaluationRun",
                    reason="FIELD_INVALID",
                    resource=suite.name,
                )
        judges = await asyncio.to_thread(self._named, suites)
        version = await self._models.version(given.model_version)
        run = EvaluationRun(
            name=f"{request.parent}/evaluationRuns/{request.evaluation_run_id or new_id('run')}",
            model_version=version.name,
            suites=given.suites,
            inputs=EvaluationInputs(model_manifest=version.manifest, suites=suites, judges=judges),
            check_contamination=given.check_contamination,
        )
        if given.check_contamination:
            await self._add_training(version, run.inputs)
        if given.endpoint:
            await self._add_deployment(given.endpoint, version, suites, run)
        return await self._store.write(lambda tx: self._runtime.submit(tx, run))

    async def _add_deployment(
        self, endpoint: str, version: ModelVersion, suites: Sequence[EvaluationSuite], run: EvaluationRun
    ) -> None:
        """Pin who answers; sealed cases are not asked, since serve_svc keeps what it is asked for feedback."""
        for suite in suites:
            if suite.sealed:
                raise FailedPrecondition(
                    f"{suite.name} is sealed, and its text stays here; leave `endpoint` out or take another suite",
                    reason="FIELD_INVALID",
                    resource=suite.name,
                )
        found = await self._serving.deployment(endpoint)
        if found.model_version != version.name:
            raise FailedPrecondition(
                f"{endpoint} serves {found.model_version}, not {version.name}; deploy it there first",
                reason="FIELD_INVALID",
                resource=endpoint,
            )
        run.endpoint, run.inputs.deployment = endpoint, found.name
        run.inputs.precision = Precision.Name(found.precision).removeprefix("PRECISION_").lower()

    async def _add_training(self, version: ModelVersion, inputs: EvaluationInputs) -> None:
        """Pin the dataset versions that a model and its parents were trained on, and say what cannot be looked at."""
        seen: set[str] = set()
        for _ in range(PARENTS_MAX):
            for name in version.dataset_versions:
                if name in seen:
                    continue
                seen.add(name)
                try:
                    found = await self._data.version(name)
                except NotFound as error:
                    inputs.unknown_training.append(f"{name}: {error.message}")
                    continue
                inputs.training_data.add(
                    dataset_version=found.name, manifest=found.manifest, model_version=version.name
                )
            if not version.parent:
                break
            version = await self._models.version(version.parent)
        if version.parent:
            inputs.unknown_training.append(f"{version.parent} and its parents: a line of over {PARENTS_MAX} versions")
        elif version.source == MODEL_SOURCE_IMPORTED:
            inputs.unknown_training.append(f"{version.name}: imported, so what it was trained on is not known here")

    def _named(self, suites: Sequence[EvaluationSuite]) -> list[Judge]:
        known, judges = self._judges.judges(), []
        for suite in suites:
            for name in sorted(judges_of(suite.options)):
                if name not in known or (suite.sealed and not known[name].inside):
                    raise FailedPrecondition(
                        f"{suite.name} asks judge {name!r}, which the operator no longer names for it; see judges.json",
                        reason="FIELD_INVALID",
                        resource=suite.name,
                    )
                judges.append(known[name])
        return list({judge.name: judge for judge in judges}.values())


def evaluation_runs(signer: Signer) -> JobKind[EvaluationRun]:
    """Return the kind of runs; what they say of an endpoint is signed here, since workers hold no key."""

    def finish(tx: Tx, run: EvaluationRun, result: bytes, artifacts: Sequence[ArtifactRef]) -> EvaluationRun:
        del tx, artifacts  # named again by the results
        outcome = EvaluationResult.FromString(result)
        run.ClearField("results")
        run.results.extend(outcome.results)
        if outcome.HasField("parity"):
            run.parity.CopyFrom(outcome.parity)
            run.parity_attestation = signer.sign(_statement(run))
        return run

    return JobKind(collection="evaluationRuns", message=EvaluationRun, entry="eval_svc.worker", on_success=finish)


def _statement(run: EvaluationRun) -> Statement:
    """Say of the model and of every suite's results what the endpoint was found to be."""
    subjects = {run.model_version: run.inputs.model_manifest.sha256}
    subjects |= {result.suite: result.case_results.sha256 for result in run.results}
    predicate = {
        "run": run.name,
        "deployment": run.inputs.deployment,
        "report": json_format.MessageToDict(run.parity, preserving_proto_field_name=True),
    }
    return Statement(subjects, PARITY_PREDICATE_TYPE, predicate)
