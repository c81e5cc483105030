"""Entry of the worker process."""

from __future__ import annotations

from bessemer.jobs.worker import main

from data_svc.worker import curate, dataset_job
from data_svc.worker.heap import give_memory_back

give_memory_back()
main({"curationJobs": curate.run, "datasetJobs": dataset_job.run})
