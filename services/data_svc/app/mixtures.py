"""Mixtures of dataset versions: made once, never changed."""

from __future__ import annotations

import asyncio

from bessemer.api.data.v1 import mixture_service_pb2 as pb
from bessemer.api.data.v1.mixture_pb2 import Mixture
from bessemer.api.data.v1.project_service_pb2 import Project
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.mixture import write_mixture
from bessemer.kernel.errors import InvalidRequest
from bessemer.kernel.ids import id_of
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from data_svc import codec
from data_svc.app.datasets import live_version
from data_svc.domain import mixtures
from data_svc.ports import LineageGraph

__all__ = ["Mixtures"]


class Mixtures:
    """Use cases of mixtures."""

    def __init__(self, store: Store, objects: ObjectStore, graph: LineageGraph) -> None:
        self._store = store
        self._objects = objects
        self._graph = graph

    async def create(self, request: pb.CreateMixtureRequest) -> Mixture:
        """Pin the versions, write the shares down, and store what decides a run by digest."""
        mixture = await self._resolve(request.mixture, request.parent)
        mixture.name = f"{request.parent}/mixtures/{request.mixture_id}"
        blobs = Blobs(self._objects, id_of(request.parent))
        mixture.content.CopyFrom(await asyncio.to_thread(write_mixture, blobs, mixture))

        def commit(tx: Tx) -> Mixture:
            tx.get(request.parent, Project)
            self._graph.add(tx, codec.lineage_of_mixture(mixture))
            return tx.put(mixture, verb="created")

        return await self._store.write(commit)

    async def get(self, name: str) -> Mixture:
        """Return a mixture."""
        return await self._store.read(lambda tx: tx.get(name, Mixture))

    async def list(self, request: pb.ListMixturesRequest) -> pb.ListMixturesResponse:
        """Return a page of a project's mixtures."""
        found, token = await self._store.read(
            lambda tx: tx.list(Mixture, request.parent, page_size=request.page_size, page_token=request.page_token)
        )
        return pb.ListMixturesResponse(mixtures=found, next_page_token=token)

    async def preview(self, request: pb.PreviewMixtureRequest) -> pb.PreviewMixtureResponse:
        """Return what a run would read of a mixture, created or not."""
        if bool(request.name) == request.HasField("mixture"):
            raise InvalidRequest("give either name or mixture", field="name")
        if request.name:
            mixture = await self.get(request.name)
        else:
            mixture = await self._resolve(request.mixture, request.parent)
        return await asyncio.to_thread(mixtures.preview, mixture, tokens=request.tokens, rows=request.rows)

    async def _resolve(self, given: Mixture, project: str) -> Mixture:
        mixtures.check_names(given, project)
        names = [component.dataset_version for component in given.components]
        versions = await self._store.read(lambda tx: [live_version(tx, name) for name in names])
        for component, version in zip(given.components, versions, strict=True):
            component.dataset_version = version.name  # what an alias points at now
        mixtures.check_names(given, project)
        return mixtures.resolve(given, versions)
