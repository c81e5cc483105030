"""A worker whose handler does what the labels of its job say; run as `python -m jobs_worker`."""

from __future__ import annotations

import hashlib
import os
import signal
import time

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.common.v1.metric_pb2 import MetricPoint
from bessemer.api.train.v1.training_job_pb2 import TrainingJob, TrainingResult
from bessemer.jobs.worker import Done, Paused, PauseRequested, TaskContext, main
from bessemer.kernel.errors import InvalidRequest, Unavailable


def work(context: TaskContext) -> Done | Paused:  # noqa: C901
    labels = TrainingJob.FromString(context.job).labels
    print(f"attempt {context.epoch} goes on from {context.saved_state!r}", flush=True)
    (context.workdir / "scratch").write_text("x")
    match labels["do"]:
        case "refuse":
            raise InvalidRequest("the recipe is wrong", field="recipe")
        case "defect":
            raise ZeroDivisionError("oops")
        case "diverge":
            context.report(stage="step", fraction=0.5, metrics=[MetricPoint(key="loss", step=1, value=float("nan"))])
        case "unavailable":
            if context.epoch < 3:
                raise Unavailable("the store is down")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "die_once":
            if context.epoch == 1:
                os.kill(os.getpid(), signal.SIGKILL)
        case "lie":
            ref = ArtifactRef(key="projects/p/blobs/sha256/none", sha256="0" * 64, size_bytes=1)
            return Done(TrainingResult(), [ref])
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)
    return steps(context, int(labels["steps"] or 3), float(labels["step_s"] or 0.05))


def steps(context: TaskContext, count: int, step_s: float) -> Done | Paused:
    done = int(context.saved_state or b"0")
    try:
        for step in range(done + 1, count + 1):
            context.check()
            time.sleep(step_s)
            point = MetricPoint(key="loss", step=step, value=1 / step)
            state = str(step).encode()
            context.report(stage=f"step {step}", fraction=step / count, metrics=[point], saved_state=state)
            print(f"step {step}", flush=True)
    except PauseRequested:
        return Paused(context.saved_state)
    data = f"model of attempt {context.epoch}".encode()
    digest = hashlib.sha256(data).hexdigest()
    key = f"projects/p/blobs/sha256/{digest}"
    context.objects.put_bytes(key, data)
    ref = ArtifactRef(key=key, sha256=digest, size_bytes=len(data))
    return Done(TrainingResult(parameters=count), [ref])


if __name__ == "__main__":
    main({"trainingJobs": work})
