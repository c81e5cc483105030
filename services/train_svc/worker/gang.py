"""How rank 0 takes the other ranks along: the same job, the same end."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

from bessemer.api.common.v1.metric_pb2 import MetricPoint
from bessemer.api.worker.v1.worker_service_pb2 import HeartbeatRequest, HeartbeatResponse, Task
from bessemer.jobs.worker import Handler, LeaseLost, PauseRequested, Stopped, TaskContext, surroundings
from bessemer.kernel.errors import Unavailable

from train_svc.worker.ranks import Ranks, open_ranks

__all__ = ["accompanied", "follow"]

_LOG = logging.getLogger(__name__)
_GO_ON, _PAUSE, _STOP = b"go on", b"pause", b"stop"


@contextlib.contextmanager
def accompanied(context: TaskContext, ranks: Ranks) -> Iterator[None]:
    """Hand the task to the other ranks, and have each `check` end them as it ends rank 0."""
    if ranks.size == 1 or not ranks.is_first:
        yield
        return
    task = Task(
        name=context.name, kind=context.kind, epoch=context.epoch, job=context.job, saved_state=context.saved_state
    )
    ranks.tell(task.SerializeToString())
    check = context.check

    def check_all() -> None:
        try:
            check()
        except Stopped as stopped:
            ranks.tell(_PAUSE if isinstance(stopped, PauseRequested) else _STOP)
            raise
        ranks.tell(_GO_ON)

    context.check = check_all  # type: ignore[method-assign]
    try:
        yield
    except RuntimeError as error:
        if "gloo" in str(error):  # from inside a layer; torch raises nothing narrower
            raise Unavailable(f"another rank is lost: {error}"[:300], reason="WORKER_LOST") from error
        raise
    finally:
        context.check = check  # type: ignore[method-assign]
    ranks.close()


def follow(handlers: Mapping[str, Handler], env: Mapping[str, str]) -> NoReturn:
    """Be a rank other than the first: do what that one does, and say nothing to the service."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the first rank gets it too, and decides
    ranks = open_ranks(env)
    task = Task.FromString(ranks.tell(b""))
    objects, workdir = surroundings(env)
    with contextlib.suppress(LeaseLost):
        handlers[task.kind](
            _Follower(ranks, task, objects=objects, workdir=workdir / f"rank-{ranks.rank}", link=_Silence())
        )
    ranks.close()
    sys.exit(0)


class _Silence:
    """Where a link to the service would be."""

    def beat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        """Answer nothing."""
        del request
        return HeartbeatResponse()


class _Follower(TaskContext):
    """What the first rank decides."""

    def __init__(self, ranks: Ranks, task: Task, **where: object) -> None:
        super().__init__(task, **where)  # type: ignore[arg-type]
        self.workdir.mkdir(parents=True, exist_ok=True)
        self._ranks = ranks

    def check(self) -> None:
        """Raise what ends the first rank."""
        said = self._ranks.tell(b"")
        if said == _PAUSE:
            raise PauseRequested("the first rank pauses")
        if said == _STOP:
            raise LeaseLost("the first rank stops")

    def report(
        self,
        *,
        stage: str,
        fraction: float,
        remaining_s: float = 0,
        metrics: Sequence[MetricPoint] = (),
        saved_state: bytes = b"",
    ) -> None:
        """Say nothing."""
