"""What SDK and command know about jobs: where each kind is watched, and what its end means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bessemer.api.common.v1 import job_pb2
from bessemer.kernel.errors import BessemerError, InvalidRequest
from bessemer.kernel.ids import collection_of

__all__ = ["JOBS", "JobKind", "JobNotSuccessful", "ended", "job_kind", "raise_unless_succeeded"]


@dataclass(frozen=True)
class JobKind:
    """One collection of jobs: its service, field and RPC suffix, and whether workers of it write logs."""

    area: str
    snake: str
    has_logs: bool = True


JOBS = {
    "curationJobs": JobKind("data", "curation_job"),
    "datasetJobs": JobKind("data", "dataset_job"),
    "mixtureJobs": JobKind("train", "mixture_job"),
    "modelJobs": JobKind("train", "model_job"),
    "trainingJobs": JobKind("train", "training_job"),
    "evaluationRuns": JobKind("eval", "evaluation_run"),
    "batchInferenceJobs": JobKind("serve", "batch_inference_job", has_logs=False),
}
_TERMINAL = {
    job_pb2.JOB_STATE_SUCCEEDED,
    job_pb2.JOB_STATE_FAILED,
    job_pb2.JOB_STATE_CANCELLED,
    job_pb2.JOB_STATE_EXPIRED,
}


class JobNotSuccessful(BessemerError):
    """A job ended without its results; `job` is the job as it ended."""

    code = "FAILED_PRECONDITION"

    def __init__(self, job: Any) -> None:
        state = job_pb2.JobState.Name(job.status.state).removeprefix("JOB_STATE_").lower()
        super().__init__(
            f"{job.name} {state}: {job.status.error.message or 'no reason was recorded'}", resource=job.name
        )
        self.job = job


def job_kind(name: str) -> JobKind:
    """Return the kind of the job called `name`.

    Raises: InvalidRequest if it is not the name of a job.
    """
    if name.count("/") != 3 or collection_of(name) not in JOBS:
        raise InvalidRequest(f"{name!r} is not the name of a job; jobs lie in {', '.join(JOBS)}", field="name")
    return JOBS[collection_of(name)]


def ended(job: Any) -> bool:
    """Return whether the job's state is terminal."""
    return job.status.state in _TERMINAL


def raise_unless_succeeded(job: Any) -> Any:
    """Return the job if it succeeded.

    Raises: JobNotSuccessful otherwise.
    """
    if job.status.state != job_pb2.JOB_STATE_SUCCEEDED:
        raise JobNotSuccessful(job)
    return job
