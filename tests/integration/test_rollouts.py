"""Splits, shadows and rollouts over real gRPC with real engines; where it counts, the service is killed on the way."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import httpx
import pytest
import pytest_asyncio
from bessemer.api.data.v1 import feedback_service_pb2 as feedback
from bessemer.api.data.v1 import project_service_pb2 as projects
from bessemer.api.data.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from bessemer.api.data.v1.project_service_pb2_grpc import ProjectServiceStub
from bessemer.api.event.v1.serve_events_pb2 import RolloutChanged
from bessemer.api.serve.v1 import (
    deployment_pb2,
    deployment_service_pb2,
    deployment_service_pb2_grpc,
    inference_service_pb2,
    inference_service_pb2_grpc,
    rollout_pb2,
    rollout_service_pb2_grpc,
)
from bessemer.api.serve.v1 import rollout_service_pb2 as rollouts
from bessemer.kernel.errors import Conflict, FailedPrecondition, InvalidRequest
from bessemer.local.servers import free_ports, start_nats
from bessemer.svckit import auth
from bessemer.svckit.client import channel
from bessemer.svckit.objects import ObjectsConfig, open_objects

from tests.fixtures.tiny_model import make_tiny_model
from tests.integration.test_serve_svc import ENDPOINT, READY, STOPPED, VERSION, World, peers_of, refusal, world_in

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROOT = Path(__file__).resolve().parents[2]
NEW = VERSION.replace("v1", "v2")
DECISION = "projects/default/gateDecisions/v2"
DROPS = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
Share = deployment_pb2.TrafficShare
SUCCESS = {"id": "success", "signal": "ROLLOUT_SIGNAL_SUCCESS", "margin": 0.05}
FEEDBACK = {"id": "feedback", "signal": "ROLLOUT_SIGNAL_FEEDBACK", "margin": 0.03}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [make_tiny_model(folder / "one"), make_tiny_model(folder / "two", seed=2)]


@pytest_asyncio.fixture(loop_scope="module")
async def world(tmp_path, models):
    """A service of the test's own, with one deployment that answers and a version that passed its gate."""
    async with world_in(tmp_path, models[0]) as world:
        world.rollouts = rollout_service_pb2_grpc.RolloutServiceStub(world._channel)
        world.publish(models[1], NEW)
        world.old = await world.ready()
        yield world


async def say(inference, user="", tokens=2):
    prompt = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
    sampling = {"max_tokens": tokens, "temperature": 0}
    return await inference.Generate(
        inference_service_pb2.GenerateRequest(target=ENDPOINT, prompt=prompt, sampling=sampling, user=user)
    )


async def set_traffic(world, shares, **fields):
    etag = fields.pop("etag", None) or (await world.endpoint()).etag
    request = deployment_service_pb2.SetTrafficRequest(
        name=ENDPOINT, etag=etag, traffic=[Share(deployment=name, percent=part) for name, part in shares], **fields
    )
    return await world.deployments.SetTraffic(request)


async def standby(world):
    made = await world.deploy(model_version=NEW, gate_decision=DECISION, standby=True)
    return await world.wait(made.name)


async def ended(stub, name, limit_s=60):
    async with asyncio.timeout(limit_s):
        while True:
            found = await stub.GetRollout(rollouts.GetRolloutRequest(name=name))
            if found.HasField("end_time"):
                return found
            await asyncio.sleep(0.1)


async def begun(world, name):
    async with asyncio.timeout(20):
        get = rollouts.GetRolloutRequest(name=name)
        while (await world.rollouts.GetRollout(get)).state != rollout_pb2.ROLLOUT_STATE_RUNNING:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_split_is_sticky_guarded_by_etag_and_rolled_back_within_a_second(world):
    new = await standby(world)
    assert {one.deployment for one in (await world.endpoint()).traffic} == {world.old.name}, "a standby takes none"
    before = await world.endpoint()
    split = await set_traffic(world, [(world.old.name, 50), (new.name, 50)])
    assert isinstance(await refusal(set_traffic(world, [(world.old.name, 100)], etag=before.etag)), Conflict)
    assert "sum to 90" in (await refusal(set_traffic(world, [(world.old.name, 90)]))).message
    itself = deployment_pb2.ShadowTraffic(deployment=world.old.name, percent=10)
    refused = await refusal(set_traffic(world, [(world.old.name, 100)], shadow=itself))
    assert refused.fields["field"] == "shadow.deployment"
    users = [f"user-{number}" for number in range(16)]
    first = {user: (await say(world.inference, user)).model_version for user in users}
    assert set(first.values()) == {VERSION, NEW}
    assert {user: (await say(world.inference, user)).model_version for user in users} == first
    client = world.openai()
    ask = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
    for user in users[:4]:
        await client.chat.completions.create(**ask, user=user)
    assert [one.percent for one in split.previous_traffic] == [100]

    await set_traffic(world, [(new.name, 100)])
    assert (await say(world.inference)).model_version == NEW
    old = await world.deployments.GetDeployment(deployment_service_pb2.GetDeploymentRequest(name=world.old.name))
    assert old.state == READY, "it stays warm"
    assert old.HasField("retire_time")
    began = time.monotonic()
    back = await world.deployments.RollbackEndpoint(deployment_service_pb2.RollbackEndpointRequest(name=ENDPOINT))
    assert {one.deployment: one.percent for one in back.traffic} == {world.old.name: 50, new.name: 50}
    first_again = {user: (await say(world.inference, user)).model_version for user in users[:1]}
    assert time.monotonic() - began < 1.0
    assert first_again == {users[0]: first[users[0]]}
    kept = await world.deployments.GetDeployment(deployment_service_pb2.GetDeploymentRequest(name=world.old.name))
    assert not kept.HasField("retire_time")


async def test_deployment_that_lost_its_traffic_ends_when_its_time_is_over_and_no_way_leads_back(world):
    new = await standby(world)
    await set_traffic(world, [(new.name, 100)], keep_warm_s=0)
    await world.wait(world.old.name, STOPPED)
    request = deployment_service_pb2.RollbackEndpointRequest(name=ENDPOINT)
    error = await refusal(world.deployments.RollbackEndpoint(request))
    assert isinstance(error, FailedPrecondition)
    assert "deploy its model version again" in error.message
    assert (await say(world.inference)).model_version == NEW


async def test_engine_of_a_share_that_dies_harms_nobody(world):
    new = await standby(world)
    await set_traffic(world, [(new.name, 50), (world.old.name, 50)])
    os.kill(world.fleet()._engines[new.name].pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        while world.fleet().has(new.name):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    answers = [await say(world.inference, f"user-{number}") for number in range(8)]
    assert {one.model_version for one in answers} <= {VERSION, NEW}
    assert all(one.text for one in answers)
    async with asyncio.timeout(60):
        while not world.fleet().has(new.name):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    assert (await world.wait(new.name)).revision > new.revision
    shares = {one.deployment: one.percent for one in (await world.endpoint()).traffic}
    assert shares == {new.name: 50, world.old.name: 50}, "coming back is no takeover"


async def test_rollout_needs_the_gate_that_a_deployment_needs(world):
    start = rollouts.StartRolloutRequest(endpoint=ENDPOINT, model_version=NEW)
    assert (await refusal(world.rollouts.StartRollout(start))).reason == "GATE_NOT_PASSED"
    wrong = rollouts.StartRolloutRequest(
        endpoint=ENDPOINT, model_version=NEW, gate_decision="projects/default/gateDecisions/v1"
    )
    assert (await refusal(world.rollouts.StartRollout(wrong))).reason == "GATE_NOT_PASSED"
    bad = rollouts.StartRolloutRequest(
        endpoint=ENDPOINT, model_version=NEW, gate_decision=DECISION, plan={"stages": [{"percent": 70}]}
    )
    error = await refusal(world.rollouts.StartRollout(bad))
    assert (type(error), error.fields["field"]) == (InvalidRequest, "plan.stages")
    assert not (await world.endpoint()).rollout


@pytest.mark.slow
async def test_rollout_goes_through_its_shadow_and_is_promoted_and_can_be_taken_back(world):
    plan = {
        "stages": [{"shadow": True, "percent": 100, "harm": 0.4}, {"percent": 50, "min_s": 1.5}],
        "metrics": [{**SUCCESS, "margin": 0.2}],
        "alpha": 0.25,
    }
    started = await world.rollouts.StartRollout(
        rollouts.StartRolloutRequest(
            endpoint=ENDPOINT, model_version=NEW, gate_decision=DECISION, plan=plan, rollout_id="r1"
        )
    )
    assert isinstance(await refusal(set_traffic(world, [(world.old.name, 100)])), FailedPrecondition)
    await world.wait(started.candidate)
    seen, shown = [], set()
    async with asyncio.timeout(120):
        number = 0
        while not (found := await world.rollouts.GetRollout(rollouts.GetRolloutRequest(name=started.name))).HasField(
            "end_time"
        ):
            answer = await say(world.inference, f"user-{number}")
            number += 1
            if found.state == rollout_pb2.ROLLOUT_STATE_RUNNING and found.stage == 0:
                shown.add(answer.model_version)
            seen.append(found.stage)
    assert found.state == rollout_pb2.ROLLOUT_STATE_PROMOTED
    late = await refusal(world.rollouts.AbortRollout(rollouts.AbortRolloutRequest(name=found.name)))
    assert (type(late), late.reason) == (FailedPrecondition, "JOB_TERMINAL")
    assert shown == {VERSION}, "nobody sees what a shadow says"
    assert {0, 1} <= set(seen)
    assert [step.stage for step in found.steps] == [0, 0, 1, -1]
    assert "a loss of 20 points ruled out" in found.steps[-1].reason
    assert found.steps[2].evidence[0].candidate.total >= 3
    assert found.steps[2].evidence[0].harm == 0.4
    endpoint = await world.endpoint()
    assert {one.deployment: one.percent for one in endpoint.traffic} == {started.candidate: 100}
    stats = await world.deployments.GetEndpointStats(deployment_service_pb2.GetEndpointStatsRequest(name=ENDPOINT))
    by_name = {one.deployment: one for one in stats.deployments}
    assert by_name[started.candidate].percent == 100
    assert by_name[world.old.name].requests >= 3
    assert by_name[world.old.name].ttft_p50_s > 0
    back = await world.deployments.RollbackEndpoint(deployment_service_pb2.RollbackEndpointRequest(name=ENDPOINT))
    assert back.deployment == world.old.name
    assert (await say(world.inference)).model_version == VERSION


@pytest.mark.slow
async def test_rollout_is_ended_by_hand_either_way_and_verdicts_count_once(world):
    new = await standby(world)
    plan = {
        "stages": [{"percent": 50}],
        "metrics": [{"id": "tests", "signal": "ROLLOUT_SIGNAL_VERDICT", "margin": 0.03}],
    }
    ask = rollouts.StartRolloutRequest(endpoint=ENDPOINT, deployment=new.name, plan=plan)
    first = await world.rollouts.StartRollout(ask)
    await begun(world, first.name)
    answer = await say(world.inference, "one user")
    verdict = rollouts.ReportVerdictRequest(endpoint=ENDPOINT, response_id=answer.response_id, good=True)
    assert (await world.rollouts.ReportVerdict(verdict)).counted
    assert not (await world.rollouts.ReportVerdict(verdict)).counted
    again = await say(world.inference, "one user")
    verdict.response_id = again.response_id
    assert not (await world.rollouts.ReportVerdict(verdict)).counted, "one user counts once"
    verdict.metric = "style"
    assert isinstance(await refusal(world.rollouts.ReportVerdict(verdict)), InvalidRequest)
    aborted = await world.rollouts.AbortRollout(rollouts.AbortRolloutRequest(name=first.name, reason="lunch"))
    assert (aborted.state, aborted.steps[-1].reason) == (rollout_pb2.ROLLOUT_STATE_ABORTED, "lunch")
    assert (await world.endpoint()).deployment == world.old.name
    second = await world.rollouts.StartRollout(ask)
    await begun(world, second.name)
    promoted = await world.rollouts.PromoteRollout(rollouts.PromoteRolloutRequest(name=second.name))
    assert promoted.state == rollout_pb2.ROLLOUT_STATE_PROMOTED
    assert (await world.endpoint()).deployment == new.name
    listed = await world.rollouts.ListRollouts(rollouts.ListRolloutsRequest(parent=ENDPOINT))
    assert [one.name for one in listed.rollouts] == [first.name, second.name]


@pytest.mark.slow
async def test_commands_show_and_move_traffic(world, tmp_path):
    new = await standby(world)
    address = world.process.address
    stack = {
        "services": dict.fromkeys(("data", "train", "eval", "serve"), address),
        "http": {"serve": f"http://{world.http_address}"},
    }
    (tmp_path / "stack.json").write_text(json.dumps(stack))

    async def command(*arguments, ok=True):
        run = (sys.executable, "-m", "bessemer.cli.main", "--home", str(tmp_path), *arguments)
        process = await asyncio.create_subprocess_exec(
            *run, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=os.environ | {"COLUMNS": "220"}
        )
        out = (await process.communicate())[0].decode()
        assert (process.returncode == 0) == ok, out
        return out

    old_id, new_id = (name.rpartition("/")[2] for name in (world.old.name, new.name))
    started = await command("rollout", "start", "chat", new_id, "--standby", "--stages", "shadow:20,50")
    assert "bessemer rollout watch chat/" in started
    assert "feedback" in await command("rollout", "watch", "chat", "--seconds", "1")
    assert "lunch" in await command("rollout", "abort", "chat", "--reason", "lunch")
    assert "aborted" in await command("rollout", "list", "chat")
    assert "aborted: lunch" in await command("rollout", "watch", "chat", ok=False)
    await command("endpoint", "split", "chat", f"{old_id}=90", f"{new_id}=10")
    await say(world.inference)
    described = await command("endpoint", "describe", "chat")
    assert "90 %" in described
    assert "the way back, warm until" in described
    assert f"{old_id} 100 %" in await command("endpoint", "rollback", "chat")
    assert f"{old_id} 100 %" in await command("endpoint", "list")


class Processes:
    """data_svc and serve_svc as processes of their own with a real broker, and clients of both."""

    def __init__(self, home, addresses, nats_url):
        self.home, self.credentials = home, auth.issue(home)
        self.ports = dict(zip(("data", "serve", "data-http", "serve-http"), free_ports(4), strict=True))
        self.running = {}
        self._addresses = {**addresses, "data": f"127.0.0.1:{self.ports['data']}"}
        self._nats_url = nats_url
        self.token = (self.credentials / "token").read_text()

    def start(self, name):
        environ = {key: value for key, value in os.environ.items() if not key.startswith("BESSEMER_")} | {
            "BESSEMER_HOME": str(self.home),
            "BESSEMER_LISTEN": f"127.0.0.1:{self.ports[name]}",
            "BESSEMER_HTTP_LISTEN": f"127.0.0.1:{self.ports[name + '-http']}",
            "BESSEMER_JWKS_FILE": str(self.credentials / "jwks.json"),
            "BESSEMER_TOKEN_FILE": str(self.credentials / f"{name}.token"),
            "BESSEMER_DOOR_KEY_FILE": str(self.credentials / "door.key"),
            "BESSEMER_NATS_URL": self._nats_url,
            "BESSEMER_PRICE_COMPLETION_1K": "0.5",
        }
        if name == "serve":
            environ |= {f"BESSEMER_PEER_{peer.upper()}": address for peer, address in self._addresses.items()}
        with (self.home / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", "bessemer.svckit", name]
            self.running[name] = subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=ROOT)

    def kill(self, name):
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def connect(self, name):
        return channel(f"127.0.0.1:{self.ports[name]}", token=self.token)


async def patiently(call):
    """Call until a service that starts answers."""
    async with asyncio.timeout(90):
        while True:
            try:
                return await call()
            except grpc.RpcError as error:
                if error.code() not in DROPS:
                    raise
                await asyncio.sleep(0.1)


@pytest_asyncio.fixture(loop_scope="module")
async def processes(tmp_path, models):
    port = free_ports(1)[0]
    async with peers_of() as (peers, addresses):
        world = World.__new__(World)
        world.train, world.eval, world.data, world.waivers, world.artifacts = peers
        world.objects = open_objects(ObjectsConfig(url=f"file://{tmp_path / 'objects'}"))
        world.publish(models[0])
        world.publish(models[1], NEW)
        found = Processes(tmp_path, addresses, f"nats://127.0.0.1:{port}")
        broker = start_nats(tmp_path / "nats", port, tmp_path / "nats.log")
        try:
            found.start("data")
            found.start("serve")
            yield found
        finally:
            for name in list(found.running):
                found.kill(name)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(broker.pid, signal.SIGKILL)
            broker.wait()


@pytest.mark.slow
async def test_rollout_of_a_model_that_users_dislike_turns_back_though_the_service_is_killed_on_the_way(processes):
    async with processes.connect("data") as data, processes.connect("serve") as serve:
        deployments = deployment_service_pb2_grpc.DeploymentServiceStub(serve)
        inference = inference_service_pb2_grpc.InferenceServiceStub(serve)
        stub, ratings = rollout_service_pb2_grpc.RolloutServiceStub(serve), FeedbackServiceStub(data)
        with contextlib.suppress(grpc.RpcError):
            await patiently(
                lambda: ProjectServiceStub(data).CreateProject(projects.CreateProjectRequest(project_id="default"))
            )
        create = deployment_service_pb2.CreateEndpointRequest(parent="projects/default", endpoint_id="chat")
        await patiently(lambda: deployments.CreateEndpoint(create))
        deploy = deployment_service_pb2.DeployModelVersionRequest(
            endpoint=ENDPOINT, model_version=VERSION, gate_decision="projects/default/gateDecisions/v1"
        )
        await deployments.DeployModelVersion(deploy)
        await patiently(lambda: say(inference))
        started = await stub.StartRollout(
            rollouts.StartRolloutRequest(
                endpoint=ENDPOINT,
                model_version=NEW,
                gate_decision=DECISION,
                plan={"stages": [{"percent": 50}], "metrics": [FEEDBACK, SUCCESS]},
            )
        )
        get, count = rollouts.GetRolloutRequest(name=started.name), 0

        async def rate():
            """Have another user ask and say what she thinks: all like the old model, nobody the new one."""
            nonlocal count
            count += 1
            answer = await patiently(lambda: say(inference, f"user-{count}"))
            rating = feedback.RATING_UP if answer.model_version == VERSION else feedback.RATING_DOWN
            record = feedback.FeedbackRecord(
                response_id=answer.response_id, model_version=answer.model_version, rating=rating
            )
            await ratings.SubmitFeedback(feedback.SubmitFeedbackRequest(parent="projects/default", feedback=record))

        async def until(condition):
            async with asyncio.timeout(60):
                while not condition(found := await patiently(lambda: stub.GetRollout(get))):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
                return found

        await until(lambda found: found.state == rollout_pb2.ROLLOUT_STATE_RUNNING)
        for _ in range(12):
            await rate()
        before = await until(lambda found: found.evidence[0].baseline.total + found.evidence[0].candidate.total == 12)
        assert before.evidence[0].worse > 1
        assert before.state == rollout_pb2.ROLLOUT_STATE_RUNNING

        processes.kill("serve")
        processes.start("serve")
        after = await patiently(lambda: stub.GetRollout(get))
        assert after.evidence == before.evidence, "bit for bit"
        while not (found := await patiently(lambda: stub.GetRollout(get))).HasField("end_time"):
            assert count < 600  # while an engine loads again, stand-ins answer, which counts for nothing
            await rate()
            if count == 20:
                processes.kill("serve")
                processes.start("serve")

        assert found.state == rollout_pb2.ROLLOUT_STATE_ROLLED_BACK
        last = found.steps[-1]
        assert last.evidence[0].worse >= last.evidence[0].worse_threshold == 40
        assert last.evidence[0].candidate.good == 0
        assert "more than 3 points worse" in last.reason
        request = deployment_service_pb2.GetEndpointRequest(name=ENDPOINT)
        endpoint = await deployments.GetEndpoint(request)
        assert [(one.deployment, one.percent) for one in endpoint.traffic] == [(started.baseline, 100)]
        assert {(await patiently(lambda: say(inference))).model_version for _ in range(4)} == {VERSION}
        await _told(serve, started.name)
        await _exported(processes)


async def _told(serve, name):
    """Every change is an event with the numbers that led to it."""
    from bessemer.api.common.v1.system_service_pb2 import ReadEventsRequest
    from bessemer.api.common.v1.system_service_pb2_grpc import SystemServiceStub

    page = await SystemServiceStub(serve).ReadEvents(ReadEventsRequest(after_sequence=0))
    mine = [event for event in page.events if event.resource == name]
    assert [event.type.split(".")[-2] for event in mine] == ["created", "advanced", "rolled_back"]
    told = RolloutChanged.FromString(mine[-1].payload).rollout
    assert told.evidence[0].worse >= 40
    assert told.evidence[0].pairs > 4


async def _exported(processes):
    """What is measured is there for Prometheus, with a token only."""
    url = f"http://127.0.0.1:{processes.ports['serve-http']}/metrics"
    async with httpx.AsyncClient() as client:
        assert (await client.get(url)).status_code == 401
        text = (await client.get(url, headers={"authorization": f"Bearer {processes.token}"})).text
    assert "bessemer_serve_requests_total{" in text
    assert 'outcome="answered"' in text
    assert "gen_ai_server_time_to_first_token_seconds_bucket{" in text
    assert "bessemer_serve_cost_total{" in text
