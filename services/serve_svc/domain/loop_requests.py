"""Names and contents of what a round makes; functions of the loop and the round alone."""

from __future__ import annotations

import re

from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob
from bessemer.api.data.v1.feedback_curation_pb2 import FeedbackForm
from bessemer.api.eval.v1.audit_service_pb2 import AuditRunsRequest
from bessemer.api.eval.v1.evaluation_pb2 import EvaluationRun
from bessemer.api.eval.v1.evaluation_service_pb2 import DecideGateRequest
from bessemer.api.serve.v1 import loop_pb2 as api
from bessemer.api.serve.v1.deployment_service_pb2 import DeployModelVersionRequest
from bessemer.api.serve.v1.rollout_service_pb2 import StartRolloutRequest
from bessemer.api.train.v1.training_job_pb2 import TrainingJob
from bessemer.api.train.v1.training_service_pb2 import CreateTrainingJobRequest
from bessemer.kernel.errors import InvalidRequest
from bessemer.kernel.ids import id_of, parent_of, project_of

__all__ = [
    "audit_request",
    "baseline_run_name",
    "candidate_run_name",
    "dataset_job",
    "dataset_job_name",
    "deploy_request",
    "form_of",
    "gate_decision_name",
    "gate_request",
    "release_id",
    "rollout_request",
    "run",
    "training_job_name",
    "training_request",
]

_FORMS = {
    "sft": FeedbackForm.FEEDBACK_FORM_ACCEPTED,
    "kto": FeedbackForm.FEEDBACK_FORM_THUMBS,
    "dpo": FeedbackForm.FEEDBACK_FORM_EDITS,
}


def form_of(settings: api.LoopSettings) -> FeedbackForm:
    """Return what rows a recipe learns from.

    Raises: InvalidRequest for a method that does not learn from feedback.
    """
    method = settings.recipe.WhichOneof("method") or "sft"
    if method not in _FORMS:
        raise InvalidRequest(
            f"a loop learns with one of {', '.join(_FORMS)}; got {method}", field="loop.settings.recipe.method"
        )
    return _FORMS[method]


def release_id(loop: api.Loop, current: api.LoopRound) -> str:
    """Return the id that everything of a round starts with, unique in the project: by the loop's own unique id."""
    tail = re.sub(r"[^0-9a-f]", "", loop.uid)[-8:]
    return f"{id_of(loop.name)[:30].rstrip('-')}-{tail}-r{current.number}"


def _project(loop: api.Loop) -> str:
    return f"projects/{project_of(loop.name)}"


def dataset_job_name(loop: api.Loop, current: api.LoopRound) -> str:
    """Return the name of the dataset job; curation that left too little is a job of its own."""
    return f"{_project(loop)}/datasetJobs/{release_id(loop, current)}-c{current.curations_short}"


def dataset_job(loop: api.Loop, current: api.LoopRound) -> DatasetJob:
    """Return the job that curates what was said about the round's model versions."""
    job = DatasetJob(labels={"loop": id_of(loop.name)})
    job.curate_feedback.CopyFrom(loop.settings.curation)
    job.curate_feedback.ClearField("until_time")
    job.curate_feedback.model_versions[:] = current.feedback_model_versions
    return job


def training_job_name(loop: api.Loop, current: api.LoopRound) -> str:
    """Return the name of the training job."""
    return f"{_project(loop)}/trainingJobs/{release_id(loop, current)}"


def training_request(loop: api.Loop, current: api.LoopRound) -> CreateTrainingJobRequest:
    """Return the request for the training job: from what is served, on the round's version and the replay."""
    job = TrainingJob(
        labels={"loop": id_of(loop.name)},
        base_model_version=current.base_model_version,
        dataset_versions=[current.dataset_version, *loop.settings.replay],
        recipe=loop.settings.recipe,
        model=loop.settings.model,
    )
    name = training_job_name(loop, current)
    return CreateTrainingJobRequest(parent=parent_of(name), training_job_id=id_of(name), training_job=job)


def candidate_run_name(loop: api.Loop, current: api.LoopRound) -> str:
    """Return the name of the evaluation run of the new version."""
    return f"{_project(loop)}/evaluationRuns/{release_id(loop, current)}"


def baseline_run_name(loop: api.Loop, current: api.LoopRound) -> str:
    """Return the name of the run of the served version: that which judged it before, else one of this round."""
    for past in reversed(loop.rounds[:-1]):
        if past.stage == api.ROUND_STAGE_RELEASED and past.model_version == current.base_model_version:
            return past.candidate_run
        if past.stage == api.ROUND_STAGE_REJECTED and past.base_model_version == current.base_model_version:
            return past.baseline_run or f"{_project(loop)}/evaluationRuns/{release_id(loop, current)}-base"
    return f"{_project(loop)}/evaluationRuns/{release_id(loop, current)}-base"


def run(loop: api.Loop, model_version: str) -> EvaluationRun:
    """Return the evaluation run of a version on all suites of the loop."""
    return EvaluationRun(model_version=model_version, suites=loop.settings.suites)


def gate_decision_name(loop: api.Loop, current: api.LoopRound) -> str:
    """Return the name of the gate decision."""
    return f"{_project(loop)}/gateDecisions/{release_id(loop, current)}"


def gate_request(loop: api.Loop, current: api.LoopRound) -> DecideGateRequest:
    """Return the request for the gate decision."""
    name = gate_decision_name(loop, current)
    return DecideGateRequest(
        parent=parent_of(name),
        gate_decision_id=id_of(name),
        baseline_run=current.baseline_run,
        candidate_run=current.candidate_run,
        gate_policy=loop.settings.gate_policy,
    )


def audit_request(loop: api.Loop, current: api.LoopRound) -> AuditRunsRequest:
    """Return the request for the audit."""
    return AuditRunsRequest(
        baseline_run=current.baseline_run,
        candidate_run=current.candidate_run,
        proxy_suites=loop.settings.proxy_suites,
        limits=loop.settings.audit_limits,
    )


def rollout_request(loop: api.Loop, current: api.LoopRound) -> StartRolloutRequest:
    """Return the request that lets the new version earn its traffic."""
    return StartRolloutRequest(
        endpoint=parent_of(loop.name),
        rollout_id=release_id(loop, current),
        model_version=current.model_version,
        gate_decision=current.gate_decision,
        plan=loop.settings.rollout,
    )


def deploy_request(loop: api.Loop, current: api.LoopRound) -> DeployModelVersionRequest:
    """Return the request that puts the new version into service."""
    return DeployModelVersionRequest(
        endpoint=parent_of(loop.name),
        deployment_id=release_id(loop, current),
        model_version=current.model_version,
        gate_decision=current.gate_decision,
    )
