"""The dataset job: one file for each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob
from bessemer.artifacts.blobs import Blobs
from bessemer.jobs.worker import Done, TaskContext
from bessemer.kernel.ids import project_of

from data_svc.worker.assess import assess
from data_svc.worker.curate_feedback import curate_feedback
from data_svc.worker.erase import erase
from data_svc.worker.export import export
from data_svc.worker.train_tokenizer import train_tokenizer

__all__ = ["run"]

TASKS: Mapping[str, Callable[[TaskContext, DatasetJob, Blobs], Done]] = {
    "assess": assess,
    "curate_feedback": curate_feedback,
    "erase": erase,
    "export": export,
    "train_tokenizer": train_tokenizer,
}


def run(context: TaskContext) -> Done:
    """Carry out a dataset job."""
    job = DatasetJob.FromString(context.job)
    return TASKS[job.WhichOneof("task") or ""](context, job, Blobs(context.objects, project_of(job.name)))
