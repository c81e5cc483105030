"""Steps that find what an earlier run left, and outlast a service that is being restarted."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from google.protobuf.message import Message

from bessemer.api.common.v1 import job_pb2
from bessemer.cli.progress import follow
from bessemer.cli.settings import Settings
from bessemer.kernel.errors import AlreadyExists, NotFound, Unavailable
from bessemer.sdk import Client, JobNotSuccessful
from bessemer.sdk.jobs import job_kind

__all__ = ["PATIENCE_S", "ensure", "patiently", "run_job"]

T = TypeVar("T")
PATIENCE_S = 180.0
TRIES = 3


def patiently(call: Callable[[], T]) -> T:
    """Return what `call` returns; repeat it while a service does not answer, for three minutes."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def ensure(get: Callable[[], T], create: Callable[[], T]) -> T:
    """Return the resource that `get` finds, or that `create` makes."""
    try:
        return patiently(get)
    except NotFound:
        try:
            return patiently(create)
        except AlreadyExists:
            return patiently(get)


def run_job(client: Client, settings: Settings, collection: str, job: Message, *, title: str, content: str) -> Any:
    """Return the finished job that does what `job` asks for, starting it only if no earlier one did.

    The id is made from what is asked, so the same demo finds its own jobs again; a failed one gets a successor.
    Uploads count by `content`, not by name.
    """
    kind = job_kind(f"{settings.project}/{collection}/any")
    area = getattr(client, kind.area)
    identity = type(job)()
    identity.CopyFrom(job)
    if "uploads" in job.DESCRIPTOR.fields_by_name:
        identity.ClearField("uploads")
    digest = hashlib.sha256(identity.SerializeToString(deterministic=True) + content.encode()).hexdigest()[:10]
    for number in range(1, TRIES + 1):
        job_id = f"demo-{digest}" + (f"-{number}" if number > 1 else "")
        name = f"{settings.project}/{collection}/{job_id}"
        fields = {"parent": settings.project, f"{kind.snake}_id": job_id, kind.snake: job}
        found = ensure(
            partial(getattr(area, f"get_{kind.snake}"), name=name),
            partial(getattr(area, f"create_{kind.snake}"), **fields),
        )
        if found.status.state == job_pb2.JOB_STATE_SUCCEEDED:
            return found
        try:
            return patiently(partial(follow, client, settings, found, title))
        except JobNotSuccessful:
            if number == TRIES or found.status.state not in (job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED):
                raise
    raise AssertionError("the loop returns or raises")
