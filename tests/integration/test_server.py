from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import json
import statistics
import time
from datetime import timedelta

import grpc
import jwt
import pytest
from bessemer.api.common.v1 import system_service_pb2, system_service_pb2_grpc
from bessemer.api.data.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc, project_service_pb2_grpc
from bessemer.api.data.v1.project_service_pb2 import ListProjectsRequest
from bessemer.kernel.errors import Internal, Unavailable
from bessemer.kernel.ids import new_uid
from bessemer.svckit import auth, client, context, lifecycle, log
from bessemer.svckit.config import AuthConfig, ServiceConfig
from bessemer.svckit.interceptors import Admission
from bessemer.svckit.status import from_rpc_error
from google.rpc import error_details_pb2, status_pb2

from tests.integration import tiny_service
from tests.integration.tiny_service import JOB, SECRET, CurationApi

VERSION = "projects/p/datasets/d/versions/"


@pytest.fixture
def config(tmp_path):
    folder = auth.issue(tmp_path)
    return ServiceConfig(
        name="data",
        home=tmp_path,
        database_url=f"sqlite:///{tmp_path}/service.db",
        auth=AuthConfig(jwks_file=folder / "jwks.json", token_file=folder / "token"),
        grace_s=5.0,
    )


@pytest.fixture
def log_lines():
    stream = io.StringIO()
    log.setup("data", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    log.setup("data")


@contextlib.asynccontextmanager
async def serving(config):
    process = lifecycle.Process(tiny_service.build(config), config)
    await process.start()
    try:
        yield process
    finally:
        if process.state is lifecycle.State.SERVING:
            await process.stop()


@contextlib.asynccontextmanager
async def calling(process, token=None):
    async with client.channel(process.address, token=token or process._config.auth.token_file) as channel:
        yield dataset_service_pb2_grpc.DatasetServiceStub(channel)


def token_for(config, *, roles=("viewer",), projects=("p",), lifetime=timedelta(minutes=5)):
    key = auth.load_key(config.home / "credentials" / "signing.key")
    return auth.mint(key, "someone", roles=roles, projects=projects, lifetime=lifetime)


def preview(kind):
    return dataset_service_pb2.PreviewDatasetVersionRequest(name=VERSION + kind)


def create(dataset_id="d", *, request_id="", display_name=""):
    dataset = dataset_pb2.Dataset(display_name=display_name)
    return dataset_service_pb2.CreateDatasetRequest(
        parent="projects/p", dataset_id=dataset_id, dataset=dataset, request_id=request_id
    )


async def failure(call):
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return caught.value


async def test_call_with_good_token_reaches_handler_with_its_context(config):
    async with serving(config) as process, calling(process) as stub:
        answer = await stub.PreviewDatasetVersion(preview("v"), metadata=(("x-request-id", "my-id"),), timeout=7)
    request_id, remaining = answer.rows[0].text.split()
    assert answer.rows[0].source == "admin"
    assert request_id == "my-id"
    assert 5 < float(remaining) <= 7


async def test_call_without_deadline_gets_default_of_its_class(config):
    async with serving(config) as process, calling(process) as stub:
        answer = await stub.PreviewDatasetVersion(preview("v"))
    assert 8 < float(answer.rows[0].text.split()[1]) <= 10


async def test_error_of_kernel_arrives_with_class_reason_and_field(config):
    async with serving(config) as process, calling(process) as stub:
        caught = await failure(stub.PreviewDatasetVersion(preview("field")))
    error = from_rpc_error(caught)
    assert (error.code, error.reason, error.fields["field"]) == ("INVALID_ARGUMENT", "FIELD_INVALID", "rows")
    assert error.message == "rows must be even; got 3"
    status = status_pb2.Status.FromString(dict(caught.trailing_metadata())["grpc-status-details-bin"])
    violation = error_details_pb2.BadRequest()
    assert any(detail.Unpack(violation) for detail in status.details)
    assert violation.field_violations[0].field == "rows"


async def test_exception_with_secret_reaches_log_but_no_client(config, log_lines):
    async with serving(config) as process, calling(process) as stub:
        caught = await failure(stub.PreviewDatasetVersion(preview("bug")))
        curation = dataset_service_pb2_grpc.CurationServiceStub(_raw(process))
        bad = dataset_service_pb2.WatchCurationJobRequest(name="projects/p/curationJobs/bug")
        stream = await failure(anext(aiter(curation.WatchCurationJob(bad, metadata=_bearer(config)))))
    for error in (caught, stream):
        assert error.code() is grpc.StatusCode.INTERNAL
        assert SECRET not in f"{error.details()}{error.trailing_metadata()}"
    incident = from_rpc_error(caught).fields["incident"]
    [line] = [line for line in log_lines() if line.get("incident") == incident]
    assert SECRET in line["traceback"]


async def test_error_longer_than_metadata_allows_is_cut_not_lost(config):
    async with serving(config) as process, calling(process) as stub:
        caught = await failure(stub.PreviewDatasetVersion(preview("long")))
    assert caught.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert from_rpc_error(caught).reason == "VERSION_NOT_SEALED"
    assert sum(len(key) + len(value) for key, value in caught.trailing_metadata()) < 4096


async def test_call_with_huge_metadata_is_refused_and_server_lives(config):
    async with serving(config) as process, calling(process) as stub:
        caught = await failure(stub.PreviewDatasetVersion(preview("v"), metadata=(("x-big", "y" * 20_000),)))
        await stub.PreviewDatasetVersion(preview("v"))
    assert caught.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_bad_credentials_are_refused(config):
    good = config.auth.token_file.read_text()
    stranger = auth.SigningKey.of(auth.Ed25519PrivateKey.generate())
    claims = jwt.decode(good, options={"verify_signature": False})
    ours = auth.load_key(config.home / "credentials" / "signing.key")

    def signed(algorithm="EdDSA", key=ours.private, **changes):
        return jwt.encode(claims | changes, key, algorithm=algorithm, headers={"kid": ours.key_id})

    bad = {
        "nonsense": "nonsense",
        "unknown key": auth.mint(stranger, "x", roles=["admin"], lifetime=timedelta(1)),
        "stolen key id": signed(key=stranger.private),
        "expired": token_for(config, lifetime=timedelta(hours=-1)),
        "not yet": signed(nbf=time.time() + 600),
        "other audience": signed(aud="somebody-else"),
        "other issuer": signed(iss="somebody-else"),
        "no algorithm": signed("none", key=None),
        "symmetric": signed("HS256", key="public-keys-are-no-secrets-whatsoever"),
        "cut": good[:-4],
    }
    async with serving(config) as process:
        for case, token in bad.items():
            async with calling(process, token) as stub:
                caught = await failure(stub.PreviewDatasetVersion(preview("v")))
                assert caught.code() is grpc.StatusCode.UNAUTHENTICATED, case
                assert token not in caught.details(), case
        stub = dataset_service_pb2_grpc.DatasetServiceStub(_raw(process))
        assert (await failure(stub.PreviewDatasetVersion(preview("v")))).code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("roles", "projects", "request_", "allowed"),
    [
        (["viewer"], ["p"], preview("v"), True),
        (["viewer"], ["q"], preview("v"), False),
        (["viewer"], [], preview("v"), False),
        ([], ["p"], preview("v"), False),
        (["worker"], ["*"], preview("v"), False),
        (["inference"], ["*"], preview("v"), False),
        (["service"], ["*"], preview("v"), True),
        (["viewer"], ["p"], create(), False),
        (["editor"], ["p"], create(), True),
        (["editor"], ["q"], create(), False),
        (["operator"], ["p"], create(), False),
    ],
)
async def test_role_and_project_of_token_decide(config, roles, projects, request_, allowed):
    async with serving(config) as process, calling(process, token_for(config, roles=roles, projects=projects)) as stub:
        method = stub.PreviewDatasetVersion if hasattr(request_, "rows") else stub.CreateDataset
        if allowed:
            await method(request_)
        else:
            assert (await failure(method(request_))).code() is grpc.StatusCode.PERMISSION_DENIED


async def test_permission_is_checked_before_existence_and_validity(config):
    async with serving(config) as process, calling(process, token_for(config)) as stub:
        there = await failure(stub.GetDataset(dataset_service_pb2.GetDatasetRequest(name="projects/q/datasets/no")))
        bad = await failure(stub.GetDataset(dataset_service_pb2.GetDatasetRequest(name="projects/q/datasets/NO/x")))
    assert there.code() is bad.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_events_are_for_services_and_system_info_for_everybody(config):
    async with serving(config) as process:
        async with calling(process) as stub:
            await stub.CreateDataset(create())
        open_stub = system_service_pb2_grpc.SystemServiceStub(_raw(process))
        info = await open_stub.GetSystemInfo(system_service_pb2.GetSystemInfoRequest())
        assert (info.service, len(info.contract_sha256)) == ("data", 64)
        viewer, peer = token_for(config), (config.home / "credentials" / "train.token").read_text()
        ask = system_service_pb2.ReadEventsRequest()
        assert (await failure(open_stub.ReadEvents(ask, metadata=_header(viewer)))).code().name == "PERMISSION_DENIED"
        events = await open_stub.ReadEvents(ask, metadata=_header(peer))
    assert [event.type for event in events.events] == ["bessemer.data.dataset.created.v1"]
    assert events.head_sequence == 1


async def test_request_served_before_is_answered_from_the_store(config):
    request_id = new_uid()
    async with serving(config) as process, calling(process) as stub:
        first = await stub.CreateDataset(create(request_id=request_id, display_name="one"))
        again = await stub.CreateDataset(create(request_id=request_id, display_name="one"))
        other = await failure(stub.CreateDataset(create(request_id=request_id, display_name="two")))
        unrelated = await failure(stub.CreateDataset(create(request_id=new_uid(), display_name="one")))
    assert again == first
    assert (other.code().name, from_rpc_error(other).reason) == ("ABORTED", "REQUEST_ID_REUSED")
    assert unrelated.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_same_request_many_times_at_once_has_one_effect(config):
    async with serving(config) as process, calling(process) as stub:
        request = create(request_id=new_uid())
        answers = await asyncio.gather(*(stub.CreateDataset(request) for _ in range(20)))
        head = await process.service.store.read(lambda tx: tx.head())
    assert all(answer == answers[0] for answer in answers)
    assert head == 1


async def test_invalid_request_is_refused_with_path_and_range(config):
    async with serving(config) as process, calling(process) as stub:
        caught = await failure(stub.PreviewDatasetVersion(preview("v").__class__(name=VERSION + "v", rows=101)))
        unset = await failure(stub.CreateDataset(dataset_service_pb2.CreateDatasetRequest(parent="projects/p")))
    assert from_rpc_error(caught).fields["field"] == "rows"
    assert "at most 100" in caught.details()
    assert from_rpc_error(unset).fields["field"] == "dataset_id"


async def test_method_that_service_does_not_implement_is_unimplemented(config):
    async with serving(config) as process, calling(process) as stub:
        caught = await failure(stub.ListDatasets(dataset_service_pb2.ListDatasetsRequest(parent="projects/p")))
        missing = project_service_pb2_grpc.ProjectServiceStub(_raw(process))
        unknown = await failure(missing.ListProjects(ListProjectsRequest(), metadata=_bearer(config)))
    assert caught.code() is unknown.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_deadline_of_client_cancels_the_handler(config, log_lines):
    async with serving(config) as process, calling(process) as stub:
        started = time.monotonic()
        caught = await failure(stub.PreviewDatasetVersion(preview("sleep-5000"), timeout=0.3))
        assert time.monotonic() - started < 2
        assert caught.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await _eventually(lambda: any(line.get("code") == "CANCELLED" for line in log_lines()))


async def test_abandoned_stream_ends_its_handler(config):
    async with serving(config) as process:
        curation = dataset_service_pb2_grpc.CurationServiceStub(_raw(process))
        watch = curation.WatchCurationJob(
            dataset_service_pb2.WatchCurationJobRequest(name=JOB), metadata=_bearer(config)
        )
        first = await anext(aiter(watch))
        assert (first.resume_token, CurationApi.open_streams) == ("admin", 1)
        watch.cancel()
        await _eventually(lambda: CurationApi.open_streams == 0)


async def test_drain_lets_calls_finish_ends_watches_and_refuses_changes(config):
    async with serving(config) as process, client.channel(process.address, token=config.auth.token_file) as channel:
        stub = dataset_service_pb2_grpc.DatasetServiceStub(channel)
        watch = dataset_service_pb2_grpc.CurationServiceStub(channel).WatchCurationJob(
            dataset_service_pb2.WatchCurationJobRequest(name=JOB)
        )
        await anext(aiter(watch))
        slow = asyncio.ensure_future(stub.PreviewDatasetVersion(preview("sleep-1000")))
        await asyncio.sleep(0.2)
        process._config = dataclasses.replace(config, drain_wait_s=0.3)
        stopping = asyncio.create_task(process.stop())
        await asyncio.sleep(0.1)
        raw = dataset_service_pb2_grpc.DatasetServiceStub(_raw(process))
        refused = await failure(raw.CreateDataset(create(), metadata=_bearer(config)))
        with pytest.raises(grpc.RpcError) as ended:
            async for _ in watch:
                pass
        assert (await slow).rows
        await asyncio.wait_for(stopping, 5)
    assert from_rpc_error(refused).reason == "DRAINING"
    assert dict(refused.trailing_metadata())["grpc-retry-pushback-ms"] == "200"
    assert isinstance(from_rpc_error(ended.value), Unavailable)
    assert from_rpc_error(ended.value).reason == "DRAINING"
    assert process.state is lifecycle.State.STOPPED


async def test_one_of_two_servers_drains_without_an_error_for_clients(config):
    other = dataclasses.replace(config, database_url=f"sqlite:///{config.home}/other.db")
    async with serving(config) as first, serving(other) as second:
        addresses = f"{first.address},{second.address}"
        async with client.channel(addresses, token=config.auth.token_file) as channel:
            stub = dataset_service_pb2_grpc.DatasetServiceStub(channel)
            ended, served = asyncio.Event(), 0

            async def caller(number):
                nonlocal served
                while not ended.is_set():
                    served += 1
                    if served % 5 == 0:
                        await stub.CreateDataset(create(f"d-{number}-{served}", request_id=new_uid()))
                    else:
                        await stub.PreviewDatasetVersion(preview("v"))

            callers = [asyncio.create_task(caller(number)) for number in range(4)]
            await asyncio.sleep(0.5)
            first._config = dataclasses.replace(config, drain_wait_s=0.5)
            await first.stop()
            await asyncio.sleep(0.5)
            ended.set()
            await asyncio.gather(*callers)
    assert served > 50


async def test_server_too_busy_says_when_to_come_back(config):
    async with serving(config) as process:
        process._admission._calls_max = 1
        raw = dataset_service_pb2_grpc.DatasetServiceStub(_raw(process))
        slow = asyncio.ensure_future(raw.PreviewDatasetVersion(preview("sleep-500"), metadata=_bearer(config)))
        await _eventually(lambda: process._admission.num_calls == 1)
        refused = await failure(raw.PreviewDatasetVersion(preview("v"), metadata=_bearer(config)))
        assert (refused.code().name, from_rpc_error(refused).reason) == ("UNAVAILABLE", "RATE_LIMITED")
        async with calling(process) as stub:
            assert (await stub.PreviewDatasetVersion(preview("v"))).rows  # our channel waits and retries
        await slow
    assert Admission().num_calls == 0


async def test_token_file_that_changes_is_read_again(config, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "_TOKEN_AGE_S", 0.0)
    path = tmp_path / "mine"
    path.write_text("old")
    async with serving(config) as process, calling(process, path) as stub:
        assert (await failure(stub.PreviewDatasetVersion(preview("v")))).code() is grpc.StatusCode.UNAUTHENTICATED
        path.write_text(token_for(config))
        assert (await stub.PreviewDatasetVersion(preview("v"))).rows[0].source == "someone"


async def test_channel_outlives_a_restart_of_the_server(config):
    async with serving(config) as first:
        address = first.address
        async with client.channel(address, token=config.auth.token_file) as channel:
            stub = dataset_service_pb2_grpc.DatasetServiceStub(channel)
            await stub.PreviewDatasetVersion(preview("v"))
            await first.stop()
            waiting = asyncio.ensure_future(stub.PreviewDatasetVersion(preview("v")))
            await asyncio.sleep(0.1)
            async with serving(dataclasses.replace(config, listen=address)):
                assert (await waiting).rows


async def test_budget_of_the_caller_bounds_calls_to_peers(config):
    token = context.deadline.set(time.monotonic() + 2)
    try:
        async with serving(config) as process, calling(process) as stub:
            answer = await stub.PreviewDatasetVersion(preview("v"))
    finally:
        context.deadline.reset(token)
    assert 0 < float(answer.rows[0].text.split()[1]) < 2


async def test_sync_channel_does_the_same(config):
    async with serving(config) as process:

        def call():
            with client.sync_channel(process.address, token=config.auth.token_file) as channel:
                return dataset_service_pb2_grpc.DatasetServiceStub(channel).PreviewDatasetVersion(preview("v"))

        answer = await asyncio.to_thread(call)
    assert answer.rows[0].source == "admin"
    assert 8 < float(answer.rows[0].text.split()[1]) <= 10


async def test_second_server_on_the_port_is_refused(config):
    async with serving(config) as process:
        again = dataclasses.replace(config, listen=process.address, database_url=f"sqlite:///{config.home}/2.db")
        with pytest.raises(Unavailable, match="another process"):
            async with serving(again):
                pass


async def test_servicer_without_access_rules_is_refused(config):
    service = tiny_service.build(config)

    def register(_, server):
        handler = grpc.unary_unary_rpc_method_handler(None)
        server.add_registered_method_handlers("some.Service", {"Do": handler})

    service.servicers = [(register, None)]
    with pytest.raises(Internal, match=r"/some\.Service/Do has no access rule"):
        await lifecycle.Process(service, config).start()


async def test_log_has_one_line_per_call_and_no_token(config, log_lines):
    async with serving(config) as process, calling(process) as stub:
        await stub.PreviewDatasetVersion(preview("v"), metadata=(("x-request-id", "evil\\nid"),))
        await failure(stub.PreviewDatasetVersion(preview("field")))
    lines = [line for line in log_lines() if line["event"] == "rpc"]
    assert [(line["code"], line["subject"]) for line in lines] == [("OK", "admin"), ("INVALID_ARGUMENT", "admin")]
    assert all(line["duration_ms"] < 1000 and line["request_id"] for line in lines)
    assert config.auth.token_file.read_text() not in json.dumps(log_lines())


async def test_chain_costs_less_than_400_us_per_call(config, log_lines):
    async with serving(config) as process:
        handler = process._handlers["bessemer.api.data.v1.DatasetService"]["PreviewDatasetVersion"]
        chain = lifecycle.Chain(auth.Authenticator(config.auth), lifecycle.Authorizer(), Admission())
        wrapped = chain.wrap("/bessemer.api.data.v1.DatasetService/PreviewDatasetVersion", handler)
        rpc, request = _FakeRpc(_bearer(config)), preview("v")

        async def median_s(behaviour):
            times = []
            for _ in range(300):
                started = time.perf_counter()
                await behaviour(request, rpc)
                times.append(time.perf_counter() - started)
            return statistics.median(times)

        cost_s = await median_s(wrapped.unary_unary) - await median_s(handler.unary_unary)
    assert cost_s < 400e-6


class _FakeRpc:
    def __init__(self, metadata):
        self._metadata = metadata

    def invocation_metadata(self):
        return self._metadata

    def time_remaining(self):
        return 5.0

    def peer(self):
        return "ipv4:127.0.0.1:1"


def _raw(process):
    return grpc.aio.insecure_channel(process.address)


def _bearer(config):
    return _header(config.auth.token_file.read_text())


def _header(token):
    return (("authorization", f"Bearer {token}"),)


async def _eventually(condition, limit_s=5.0):
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
