"""`python -m train_svc.worker`: claim one task, do it, report; as a later rank, do what the first does."""

from __future__ import annotations

import os
from functools import partial

from bessemer.jobs.worker import Handler, main

from train_svc.worker import gang, mixture_search, models, train

env = dict(os.environ)
handlers: dict[str, Handler] = {
    "trainingJobs": partial(train.run, env=env),
    "modelJobs": models.run,
    "mixtureJobs": mixture_search.run,
}
if env.get("RANK", "0") == "0":
    main(handlers)
else:
    gang.follow(handlers, env)
