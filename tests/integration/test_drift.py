"""Drift monitors over real gRPC and SQLite: fed in batches, across a restart, until the right feature alarms."""

from __future__ import annotations

import json
import random

import grpc
import pytest
from bessemer.api.eval.v1 import drift_pb2 as dr
from bessemer.api.eval.v1 import drift_service_pb2 as pb
from bessemer.api.eval.v1.drift_service_pb2_grpc import DriftServiceStub
from bessemer.artifacts.lexical import sketch
from bessemer.kernel.clock import SystemClock
from bessemer.kernel.errors import BessemerError
from bessemer.svckit.config import AuthConfig, ServiceConfig
from bessemer.svckit.status import from_rpc_error
from eval_svc.wiring import build
from serve_svc.adapters.peers import GrpcDriftSink, Peers
from serve_svc.app.drift_feed import DriftFeed
from serve_svc.engine.protocol import Piece, Prompt, Turn

from tests.fixtures.running import running

PROJECT = "projects/plant"
NAME = f"{PROJECT}/driftMonitors/m"
PEERS = {"data": "127.0.0.1:1", "train": "127.0.0.1:1"}  # never asked
FEATURES = [
    dr.DriftFeature(name="prompt", kind=dr.DRIFT_FEATURE_KIND_TEXT),
    dr.DriftFeature(name="response_tokens", kind=dr.DRIFT_FEATURE_KIND_NUMBER),
    dr.DriftFeature(name="thumb", kind=dr.DRIFT_FEATURE_KIND_BINARY),
]
FURNACE = [
    "furnace",
    "slag",
    "coke",
    "ore",
    "lime",
    "heat",
    "ladle",
    "vessel",
    "rail",
    "beam",
    "plate",
    "forge",
    "melt",
]
LEAVE = ["holiday", "leave", "salary", "payroll", "manager", "request", "approve", "days", "vacation", "form"]


def rows(first: int, number: int, *, leave: float = 0.0, happy: float = 0.8) -> list[dr.DriftRow]:
    rng, made = random.Random(first), []
    for at in range(first, first + number):
        words = rng.choices(LEAVE if rng.random() < leave else FURNACE, k=9)
        made.append(
            dr.DriftRow(
                id=f"r{at}",
                numbers={"response_tokens": round(rng.gauss(80, 15)), "confidence": 0.5},
                flags={"thumb": rng.random() < happy},
                buckets=sketch(" ".join(words)),
            )
        )
    return made


async def refused(call) -> BessemerError:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def create(stub, **fields):
    return await stub.CreateDriftMonitor(
        pb.CreateDriftMonitorRequest(
            parent=PROJECT,
            drift_monitor_id="m",
            drift_monitor=dr.DriftMonitor(**{"features": FEATURES, "num_reference": 400, **fields}),
        )
    )


async def observe(stub, batch, request_id=""):
    return await stub.ObserveRequests(pb.ObserveRequestsRequest(name=NAME, rows=batch, request_id=request_id))


async def test_monitor_learns_survives_a_restart_and_names_what_moved(tmp_path):
    async with running("eval", build, tmp_path, peers=PEERS) as service:
        stub = DriftServiceStub(service.channel)
        made = await create(stub, endpoint=f"{PROJECT}/endpoints/e")
        assert (made.state, made.false_alarms) == (dr.DRIFT_MONITOR_STATE_COLLECTING, 0.01)
        assert [one.role for one in made.features] == [dr.DRIFT_ROLE_INPUT, dr.DRIFT_ROLE_OUTPUT, dr.DRIFT_ROLE_OUTCOME]
        half = await observe(stub, rows(0, 300), "a")
        assert (half.num_requests, half.state) == (300, dr.DRIFT_MONITOR_STATE_COLLECTING)
        assert (await observe(stub, rows(0, 300), "a")).num_requests == 300
    async with running("eval", build, tmp_path, peers=PEERS) as service:
        stub = DriftServiceStub(service.channel)
        full = await observe(stub, rows(300, 600))
        assert (full.num_requests, full.state) == (900, dr.DRIFT_MONITOR_STATE_WATCHING)
        assert [one.num_reference for one in full.levels] == [400, 400, 400]
        before = await stub.GetDriftMonitor(pb.GetDriftMonitorRequest(name=NAME))
    async with running("eval", build, tmp_path, peers=PEERS) as service:
        stub = DriftServiceStub(service.channel)
        assert await stub.GetDriftMonitor(pb.GetDriftMonitorRequest(name=NAME)) == before
        alarmed = await observe(stub, rows(900, 400, leave=0.2), "b")
        assert alarmed.state == dr.DRIFT_MONITOR_STATE_ALARMED
        assert (await observe(stub, rows(900, 400, leave=0.2), "b")).num_requests in {0, 1300}
        [alarm] = (await stub.ListDriftAlarms(pb.ListDriftAlarmsRequest(parent=NAME))).drift_alarms
        assert (alarm.feature, alarm.cause) == ("prompt", dr.DRIFT_CAUSE_COVARIATE)
        assert alarm.endpoint == f"{PROJECT}/endpoints/e"
        assert set(alarm.buckets) & set(sketch(" ".join(LEAVE)))
        assert 880 <= alarm.since < alarm.request <= 1300
        assert alarm.num_wanted > 0
        assert {int(one[1:]) >= 900 for one in alarm.exemplars} == {True}
        changes = await service.service.store.read(lambda tx: tx.changes(0, limit=100))
        types = [change.type.removeprefix("bessemer.eval.drift_") for change in changes]
        assert types == ["monitor.created.v1", "monitor.watching.v1", "monitor.alarmed.v1", "alarm.raised.v1"]
        again = await stub.RearmDriftMonitor(pb.RearmDriftMonitorRequest(name=NAME))
        assert again.state == dr.DRIFT_MONITOR_STATE_WATCHING
        fresh = await stub.RearmDriftMonitor(pb.RearmDriftMonitorRequest(name=NAME, new_reference=True))
        assert (fresh.state, fresh.num_requests) == (dr.DRIFT_MONITOR_STATE_COLLECTING, 0)
        listed = await stub.ListDriftMonitors(pb.ListDriftMonitorsRequest(parent=PROJECT))
        assert [one.name for one in listed.drift_monitors] == [NAME]


async def test_outcome_that_falls_beside_equal_requests_is_concept_drift(tmp_path):
    async with running("eval", build, tmp_path, peers=PEERS) as service:
        stub = DriftServiceStub(service.channel)
        await create(stub)
        await observe(stub, rows(0, 500))
        await observe(stub, rows(500, 900, happy=0.55))
        [alarm] = (await stub.ListDriftAlarms(pb.ListDriftAlarmsRequest(parent=NAME))).drift_alarms
        assert (alarm.feature, alarm.cause) == ("thumb", dr.DRIFT_CAUSE_CONCEPT)
        assert alarm.before > 0.7 > alarm.now


async def test_monitor_that_makes_no_sense_is_refused_with_the_field(tmp_path):
    async with running("eval", build, tmp_path, peers=PEERS) as service:
        stub = DriftServiceStub(service.channel)
        error = await refused(create(stub, features=[FEATURES[0], FEATURES[0]]))
        assert error.fields["field"] == "drift_monitor.features[1].name"
        error = await refused(create(stub, num_reference=10))
        assert error.fields["field"] == "drift_monitor.num_reference"
        error = await refused(create(stub, outcome="thumb"))
        assert error.fields["field"] == "drift_monitor.outcome"
        error = await refused(create(stub, outcome="thumb", confidence="prompt"))
        assert error.fields["field"] == "drift_monitor.confidence"
        error = await refused(create(stub, endpoint="projects/other/endpoints/e"))
        assert error.code in {"INVALID_ARGUMENT", "PERMISSION_DENIED"}
        error = await refused(observe(stub, rows(0, 1)))
        assert error.code == "NOT_FOUND"
        served = await create(stub, features=[])
        assert [one.name for one in served.features][:2] == ["prompt", "prompt_tokens"]
        error = await refused(observe(stub, [dr.DriftRow(id="a", numbers={"speed": 1})]))
        assert error.fields["field"] == "rows"
        error = await refused(observe(stub, [dr.DriftRow(id="a", numbers={"prompt_tokens": float("nan")})]))
        assert error.fields["field"] == "rows[0].numbers[prompt_tokens]"
        error = await refused(observe(stub, [dr.DriftRow(id="a", buckets=[5000])]))
        assert error.fields["field"] == "rows[0].buckets[0]"
        error = await refused(stub.ListDriftAlarms(pb.ListDriftAlarmsRequest(parent=f"{NAME}2")))
        assert error.code == "NOT_FOUND"


async def test_answers_are_reported_to_the_monitors_of_their_endpoint_and_dropped_when_nobody_listens(tmp_path):
    watched, other = f"{PROJECT}/endpoints/chat", f"{PROJECT}/endpoints/other"
    async with running("eval", build, tmp_path, peers=PEERS) as service:
        stub = DriftServiceStub(service.channel)
        await create(stub, features=[], endpoint=watched)
        tokens = AuthConfig(token_file=tmp_path / "credentials" / "serve.token")
        peers = Peers(
            ServiceConfig(name="serve", home=tmp_path, database_url="", peers={"eval": service.address}, auth=tokens)
        )
        feed = DriftFeed(GrpcDriftSink(peers), SystemClock())

        def answer(endpoint, number):
            prompt = Prompt((Turn("system", "be brief"), Turn("user", "Which grade has the secret furnace?")))
            feed.offer(endpoint, f"r{number}", prompt, Piece("1", "", (), "length", 12, 30), 1.5)

        for number in range(60):
            answer(watched, number)
            answer(other, number)
        await feed.flush()
        found = await stub.GetDriftMonitor(pb.GetDriftMonitorRequest(name=NAME))
        assert found.num_requests == 60
        levels = {one.feature: one for one in found.levels}
        assert levels["response_tokens"].before == 30
        assert levels["seconds_per_token"].before == pytest.approx(0.05)
        assert levels["prompt"].num_reference == 60
        state = await service.service.store.read(
            lambda tx: tx.connection.exec_driver_sql("select * from drift_states").all()
        )
        assert b"furnace" not in state[0][1]
    for number in range(60, 70):
        answer(watched, number)
    await feed.flush()
    assert feed.num_dropped == 10
    await peers.close()


async def test_monitor_of_a_dataset_version_watches_at_once_and_alarms_when_users_ask_something_else(tmp_path):
    from bessemer.api.data.v1.dataset_pb2 import DatasetVersion
    from bessemer.artifacts.blobs import Blobs
    from bessemer.artifacts.manifest import FileEntry, Manifest, write_manifest
    from bessemer.svckit.objects import ObjectsConfig, open_objects
    from data_svc.wiring import build as build_data

    rng = random.Random(1)
    asked = [" ".join(rng.choices(FURNACE, k=9)) for _ in range(300)]
    lines = [{"id": str(i), "messages": [{"role": "user", "content": text}]} for i, text in enumerate(asked)]
    blobs = Blobs(open_objects(ObjectsConfig(f"file://{tmp_path}/objects")), "plant")
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    entry = FileEntry.of("train/rows.jsonl", blobs.put_bytes(content, "application/jsonl"))
    manifest = write_manifest(blobs, Manifest("dataset", (entry,), {}))
    version = f"{PROJECT}/datasets/faq/versions/v1"
    async with (
        running("data", build_data, tmp_path) as data,
        running("eval", build, tmp_path, peers=PEERS | {"data": data.address}) as service,
    ):
        await data.service.store.write(
            lambda tx: tx.put(DatasetVersion(name=version, manifest=manifest), verb="created")
        )
        stub = DriftServiceStub(service.channel)

        async def make(name, **fields):
            monitor = dr.DriftMonitor(reference_dataset=version, **fields)
            return await stub.CreateDriftMonitor(
                pb.CreateDriftMonitorRequest(parent=PROJECT, drift_monitor_id=name, drift_monitor=monitor)
            )

        with pytest.raises(grpc.RpcError) as caught:
            await make("bad", features=FEATURES)
        assert "one text" in from_rpc_error(caught.value).message
        made = await make("m")
        assert (made.state, made.num_reference) == (dr.DRIFT_MONITOR_STATE_WATCHING, 300)
        assert [one.name for one in made.features] == ["prompt"]
        like = await stub.ObserveRequests(pb.ObserveRequestsRequest(name=NAME, rows=rows(0, 400)))
        assert like.state == dr.DRIFT_MONITOR_STATE_WATCHING
        other = await stub.ObserveRequests(pb.ObserveRequestsRequest(name=NAME, rows=rows(400, 200, leave=0.5)))
        assert other.state == dr.DRIFT_MONITOR_STATE_ALARMED
        alarms = await stub.ListDriftAlarms(pb.ListDriftAlarmsRequest(parent=NAME))
        assert [alarm.feature for alarm in alarms.drift_alarms] == ["prompt"]
        with pytest.raises(grpc.RpcError) as caught:
            await stub.RearmDriftMonitor(pb.RearmDriftMonitorRequest(name=NAME, new_reference=True))
        assert "for another make a new monitor" in from_rpc_error(caught.value).message
