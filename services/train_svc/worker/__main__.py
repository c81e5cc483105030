"""`python -m train_svc.worker`: claim one task, do it, report; as a later rank, do what the first does."""

from __future__ import annotations

import os

from bessemer.jobs.worker import main

from train_svc.worker import gang, models, train

_HANDLERS = {"trainingJobs": train.run, "modelJobs": models.run}

if os.environ.get("RANK", "0") == "0":
    main(_HANDLERS)
else:
    gang.follow(_HANDLERS, dict(os.environ))
