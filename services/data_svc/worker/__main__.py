"""Entry of the worker process."""

from __future__ import annotations

from bessemer.jobs.worker import main

from data_svc.worker import curate, dataset_job

main({"curationJobs": curate.run, "datasetJobs": dataset_job.run})
