# ruff: noqa: N802, ARG002
"""A service with one real method over a real store, and methods that misbehave in every way a handler can."""

from __future__ import annotations

import asyncio
import os
import sys

import bessemer.svckit.service as svckit
from bessemer.api.common.v1.watch_pb2 import WATCH_EVENT_BOOKMARK
from bessemer.api.data.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc
from bessemer.kernel.clock import SystemClock
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.svckit.context import current_principal, current_request_id, deadline_remaining_s
from bessemer.svckit.store import Store
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

SECRET = "hunter2-do-not-leak"
JOB = "projects/p/curationJobs/j"


class DatasetApi(dataset_service_pb2_grpc.DatasetServiceServicer):
    def __init__(self, store):
        self.store = store

    async def CreateDataset(self, request, context):
        name = f"{request.parent}/datasets/{request.dataset_id}"
        dataset = dataset_pb2.Dataset(name=name, display_name=request.dataset.display_name)
        return await self.store.write(lambda tx: tx.put(dataset, verb="created"))

    async def GetDataset(self, request, context):
        return await self.store.read(lambda tx: tx.get(request.name, dataset_pb2.Dataset))

    async def PreviewDatasetVersion(self, request, context):
        """Misbehave as the version's id says."""
        kind = request.name.rsplit("/", 1)[1]
        if kind == "bug":
            raise ValueError(f"password is {SECRET}")
        if kind == "long":
            raise FailedPrecondition("ü" * 20_000, reason="VERSION_NOT_SEALED", file="x" * 20_000)
        if kind == "field":
            raise InvalidRequest("rows must be even; got 3", field="rows")
        if kind.startswith("sleep-"):
            await asyncio.sleep(int(kind.removeprefix("sleep-")) / 1e3)
        row = dataset_service_pb2.PreviewRow(
            source=current_principal().subject, text=f"{current_request_id()} {deadline_remaining_s()}"
        )
        return dataset_service_pb2.PreviewDatasetVersionResponse(rows=[row])


class CurationApi(dataset_service_pb2_grpc.CurationServiceServicer):
    open_streams = 0

    async def WatchCurationJob(self, request, context):
        CurationApi.open_streams += 1
        try:
            while True:
                if request.name.endswith("/bug"):
                    raise ValueError(SECRET)
                yield dataset_service_pb2.WatchCurationJobResponse(
                    event=WATCH_EVENT_BOOKMARK, resume_token=current_principal().subject
                )
                await asyncio.sleep(0.05)
        finally:
            CurationApi.open_streams -= 1


def build(config):
    store = Store.open(config.database_url, service=config.name, clock=SystemClock())
    return svckit.Service(
        name=config.name,
        servicers=[
            (dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server, DatasetApi(store)),
            (dataset_service_pb2_grpc.add_CurationServiceServicer_to_server, CurationApi()),
        ],
        store=store,
        http=Starlette(routes=[Route("/", lambda _: PlainTextResponse("here"))]),
        background=[breaks] if os.environ.get("TINY_BREAKS") else [],
    )


async def breaks():
    await asyncio.sleep(0.3)
    raise RuntimeError("background is broken")


if __name__ == "__main__":
    sys.exit(svckit.run("data", build))
