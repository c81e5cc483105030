"""`python -m train_svc.worker`: claim one task, do it, report."""

from __future__ import annotations

from bessemer.jobs.worker import main

from train_svc.worker import models, train

main({"trainingJobs": train.run, "modelJobs": models.run})
