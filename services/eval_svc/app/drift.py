"""Drift monitors: made once, fed with batches of requests, and alarms that they raise."""

from __future__ import annotations

import asyncio

from bessemer.api.eval.v1 import drift_service_pb2 as pb
from bessemer.api.eval.v1.drift_pb2 import (
    DRIFT_MONITOR_STATE_ALARMED,
    DRIFT_MONITOR_STATE_COLLECTING,
    DRIFT_MONITOR_STATE_WATCHING,
    DriftAlarm,
    DriftMonitor,
    DriftMonitorState,
)
from bessemer.artifacts.blobs import Blobs
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.kernel.ids import new_id, project_of
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store, Tx
from sqlalchemy import insert, select, update

from eval_svc import codec
from eval_svc.app.drift_reference import reference_rows
from eval_svc.app.tables import DRIFT_STATES
from eval_svc.config import DRIFT_REFERENCE_MIN
from eval_svc.domain.drift.monitor import Monitor
from eval_svc.ports import DataCatalog

__all__ = ["Drift"]

_REQUEST_IDS_KEPT = 64
_VERBS = {
    DRIFT_MONITOR_STATE_COLLECTING: "collecting",
    DRIFT_MONITOR_STATE_WATCHING: "watching",
    DRIFT_MONITOR_STATE_ALARMED: "alarmed",
}


class Drift:
    """Use cases of drift monitors."""

    def __init__(self, store: Store, objects: ObjectStore, data: DataCatalog) -> None:
        self._store = store
        self._objects = objects
        self._data = data

    async def create(self, request: pb.CreateDriftMonitorRequest) -> DriftMonitor:
        """Create a monitor that has seen nothing.

        Raises: InvalidRequest for features that make no sense; FailedPrecondition if the dataset version that should be
        the reference has too few texts.
        """
        given = request.drift_monitor
        if given.endpoint and project_of(given.endpoint) != project_of(request.parent):
            raise InvalidRequest(
                f"drift_monitor.endpoint must lie in {request.parent}; got {given.endpoint}",
                field="drift_monitor.endpoint",
            )
        monitor = codec.drift_monitor(given)
        monitor.name = f"{request.parent}/driftMonitors/{request.drift_monitor_id}"
        monitor.state = DRIFT_MONITOR_STATE_COLLECTING
        if given.reference_dataset:
            fresh = await self._from_dataset(monitor, given.reference_dataset)
        else:
            fresh = Monitor(codec.drift_plan(monitor)).dump()

        def write(tx: Tx) -> DriftMonitor:
            stored = tx.put(monitor, verb="created")
            tx.connection.execute(
                insert(DRIFT_STATES).values(monitor=stored.name, state=fresh, request_ids=request.request_id)
            )
            return stored

        return await self._store.write(write)

    async def _from_dataset(self, monitor: DriftMonitor, name: str) -> bytes:
        """Return the state of a monitor whose reference is a sample of a dataset version, and name that."""
        version = await self._data.version(name)
        blobs = Blobs(self._objects, project_of(version.manifest.key))
        rows = await asyncio.to_thread(reference_rows, blobs, version.manifest, num_max=monitor.num_reference)
        if len(rows) < DRIFT_REFERENCE_MIN:
            raise FailedPrecondition(
                f"{version.name} has {len(rows)} different training texts; a reference needs {DRIFT_REFERENCE_MIN}",
                reason="DATASET_EMPTY",
                resource=version.name,
            )
        monitor.reference_dataset, monitor.num_reference = version.name, len(rows)
        monitor.state = DRIFT_MONITOR_STATE_WATCHING
        watch = Monitor(codec.drift_plan(monitor))
        for row in rows:
            watch.observe(row)
        return watch.dump()

    async def get(self, name: str) -> DriftMonitor:
        """Return a monitor with where its features stand."""

        def read(tx: Tx) -> DriftMonitor:
            monitor = tx.get(name, DriftMonitor)
            return codec.with_levels(monitor, _load(tx, monitor)[0])

        return await self._store.read(read)

    async def page(self, request: pb.ListDriftMonitorsRequest) -> pb.ListDriftMonitorsResponse:
        """Return a page of a project's monitors."""
        found, token = await self._store.read(
            lambda tx: tx.list(DriftMonitor, request.parent, page_size=request.page_size, page_token=request.page_token)
        )
        return pb.ListDriftMonitorsResponse(drift_monitors=found, next_page_token=token)

    async def observe(self, request: pb.ObserveRequestsRequest) -> DriftMonitor:
        """Take a batch, once; state, alarms and their events commit together.

        Raises: InvalidRequest if no request has any of the monitor's features.
        """

        def write(tx: Tx) -> DriftMonitor:
            stored = tx.get(request.name, DriftMonitor)
            monitor, request_ids = _load(tx, stored)
            if request.request_id and request.request_id in request_ids:
                return codec.with_levels(stored, monitor)
            rows = [codec.drift_row(one, tx.clock.now().timestamp()) for one in request.rows]
            if not any(monitor.concerns(row) for row in rows):
                names = ", ".join(feature.name for feature in stored.features)
                raise InvalidRequest(
                    f"rows hold none of the features that {stored.name} watches: {names}", field="rows"
                )
            alarms = [alarm for row in rows for alarm in monitor.observe(row)]
            stored = _put_state(tx, stored, monitor)
            for alarm in alarms:
                name = f"{stored.name}/alarms/{new_id('alarm')}"
                tx.put(codec.drift_alarm(alarm, name=name, endpoint=stored.endpoint), verb="raised")
            _save(tx, stored.name, monitor, [*request_ids, request.request_id])
            return codec.with_levels(stored, monitor)

        return await self._store.write(write)

    async def rearm(self, request: pb.RearmDriftMonitorRequest) -> DriftMonitor:
        """Watch again what has an alarm, or begin with a new reference."""

        def write(tx: Tx) -> DriftMonitor:
            stored = tx.get(request.name, DriftMonitor)
            monitor, request_ids = _load(tx, stored)
            if request.new_reference and stored.reference_dataset:
                raise FailedPrecondition(
                    f"{stored.name} is held against {stored.reference_dataset}; for another make a new monitor",
                    reason="FIELD_INVALID",
                    resource=stored.name,
                )
            if request.new_reference:
                monitor = Monitor(monitor.plan)
            else:
                monitor.rearm([level.feature for level in monitor.levels() if level.alarmed])
            stored = _put_state(tx, stored, monitor)
            _save(tx, stored.name, monitor, request_ids)
            return codec.with_levels(stored, monitor)

        return await self._store.write(write)

    async def alarms(self, request: pb.ListDriftAlarmsRequest) -> pb.ListDriftAlarmsResponse:
        """Return a page of a monitor's alarms.

        Raises: NotFound without the monitor.
        """

        def read(tx: Tx) -> pb.ListDriftAlarmsResponse:
            tx.get(request.parent, DriftMonitor)
            found, token = tx.list(
                DriftAlarm, request.parent, page_size=request.page_size, page_token=request.page_token
            )
            return pb.ListDriftAlarmsResponse(drift_alarms=found, next_page_token=token)

        return await self._store.read(read)


def _load(tx: Tx, monitor: DriftMonitor) -> tuple[Monitor, list[str]]:
    row = tx.connection.execute(select(DRIFT_STATES).where(DRIFT_STATES.c.monitor == monitor.name)).one()
    return Monitor(codec.drift_plan(monitor), row.state), row.request_ids.split()


def _save(tx: Tx, name: str, monitor: Monitor, request_ids: list[str]) -> None:
    kept = " ".join(request_ids[-_REQUEST_IDS_KEPT:])
    values = {"state": monitor.dump(), "request_ids": kept}
    tx.connection.execute(update(DRIFT_STATES).where(DRIFT_STATES.c.monitor == name).values(values))


def _put_state(tx: Tx, stored: DriftMonitor, monitor: Monitor) -> DriftMonitor:
    """Store the resource if what it does has changed; batches alone make no events."""
    state = DRIFT_MONITOR_STATE_COLLECTING if monitor.collecting else DRIFT_MONITOR_STATE_WATCHING
    if any(level.alarmed for level in monitor.levels()):
        state = DRIFT_MONITOR_STATE_ALARMED
    if state == stored.state:
        return stored
    previous = DriftMonitorState.Name(stored.state).removeprefix("DRIFT_MONITOR_STATE_")
    stored.state = state
    return tx.put(stored, verb=_VERBS[state], previous_state=previous)
