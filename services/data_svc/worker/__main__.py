"""Entry of the worker process."""

from __future__ import annotations

from bessemer.jobs.worker import main

from data_svc.worker.curate import run

main({"curationJobs": run})
