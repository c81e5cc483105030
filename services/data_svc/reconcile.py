"""What this service does without being asked: it clears away what uploads and old curation jobs left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from bessemer.api.data.v1.artifact_service_pb2 import Upload
from bessemer.api.data.v1.project_service_pb2 import Project
from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import BessemerError
from bessemer.kernel.ids import id_of
from bessemer.svckit import log
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from data_svc.app.uploads import incoming_prefix, is_abandoned
from data_svc.domain.partitions import is_stale, work_prefix

__all__ = ["Cleaner"]

EVERY_S = 3600.0


class Cleaner:
    """Deletes bytes that were PUT for uploads which are complete or given up, and old results of curation."""

    def __init__(self, store: Store, objects: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._clock = clock

    async def run(self) -> None:
        """Clean every hour until cancelled."""
        while True:
            try:
                await self.clean()
            except BessemerError as error:  # a later round will do
                log.warning("data.cleaning_failed", error=error)
            await asyncio.sleep(EVERY_S)

    async def clean(self) -> int:
        """Clean once; return how many objects went."""
        projects = await self._store.read(lambda tx: [project.name for project in _projects(tx)])
        return sum([await self._clean(project) for project in projects])

    async def _clean(self, project: str) -> int:
        now = self._clock.now()
        keys = await asyncio.to_thread(self._list, incoming_prefix(id_of(project)))

        def find(tx: Tx) -> list[str]:
            return [key for key in keys if is_abandoned(tx.find(f"{project}/uploads/{id_of(key)}", Upload), now)]

        work = await asyncio.to_thread(self._list, work_prefix(id_of(project)))
        gone = await self._store.read(find)
        gone += [key for key in work if is_stale(key, now.date())]
        for key in gone:
            await asyncio.to_thread(self._objects.delete, key)
        return len(gone)

    def _list(self, prefix: str) -> list[str]:
        return list(self._objects.list(prefix))


def _projects(tx: Tx) -> Iterator[Project]:
    token = ""
    while True:
        page, token = tx.list(Project, "", page_size=1000, page_token=token)
        yield from page
        if not token:
            return
