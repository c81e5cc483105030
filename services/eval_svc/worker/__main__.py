"""`python -m eval_svc.worker`: claims one run and grades it."""

from __future__ import annotations

from bessemer.jobs.worker import main

from eval_svc.worker.run import run

if __name__ == "__main__":
    main({"evaluationRuns": run})
