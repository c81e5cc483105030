"""How a loop sees what is on its way into service: real resources in a real store."""

from __future__ import annotations

import pytest
from bessemer.api.eval.v1.evaluation_pb2 import VERDICT_PASS, GateDecision
from bessemer.api.serve.v1 import deployment_pb2 as api
from bessemer.api.serve.v1 import loop_pb2, rollout_pb2
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.kernel.clock import SystemClock
from bessemer.kernel.errors import AlreadyExists
from bessemer.svckit.store import Store
from google.rpc.status_pb2 import Status
from serve_svc.adapters.openai_http import OpenAIServers
from serve_svc.app.deployments import Deployments, mark_failed, mark_ready
from serve_svc.app.releases import LoopReleases
from serve_svc.app.rollouts import Rollouts
from serve_svc.app.tables import TABLES

ENDPOINT, DECISION = "projects/p/endpoints/e", "projects/p/gateDecisions/g"
OLD, NEW = (f"projects/p/models/m/versions/v{n}" for n in (1, 2))


class Catalog:
    """Knows every version, each with a passed gate."""

    async def get_model_version(self, name: str) -> ModelVersion:
        return ModelVersion(name=name, context_length=64)

    async def get_gate_decision(self, name: str) -> GateDecision:
        version = NEW if name == DECISION else OLD
        return GateDecision(name=name, model_version=version, verdict=VERDICT_PASS)


@pytest.fixture
async def store(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/service.db", service="serve", clock=SystemClock(), extra=TABLES)
    await store.write(lambda tx: tx.put(api.Endpoint(name=ENDPOINT), verb="created"))
    return store


def releases_of(store: Store) -> tuple[LoopReleases, Deployments, Rollouts]:
    deployments = Deployments(store, Catalog(), OpenAIServers({}))
    rollouts = Rollouts(store, deployments)
    return LoopReleases(store, deployments, rollouts), deployments, rollouts


def loop(**settings: object) -> tuple[loop_pb2.Loop, loop_pb2.LoopRound]:
    found = loop_pb2.Loop(name=f"{ENDPOINT}/loops/l", uid="0199aabbccdd", settings=loop_pb2.LoopSettings(**settings))
    return found, found.rounds.add(number=1, model_version=NEW, gate_decision=DECISION)


async def serve_old(deployments: Deployments, store: Store) -> None:
    from bessemer.api.serve.v1.deployment_service_pb2 import DeployModelVersionRequest

    request = DeployModelVersionRequest(
        endpoint=ENDPOINT, deployment_id="old", model_version=OLD, gate_decision="projects/p/gateDecisions/old"
    )
    made = await deployments.deploy(request)
    await store.write(lambda tx: mark_ready(tx, made.name, 64, engine="torch", precision="fp32"))


async def test_a_deployment_is_done_when_it_answers_and_is_started_once(store):
    releases, deployments, _ = releases_of(store)
    await serve_old(deployments, store)
    it, current = loop()
    assert await releases.find(it, current) is None
    assert await releases.is_settled(ENDPOINT, besides="")
    await releases.start(it, current)
    with pytest.raises(AlreadyExists):
        await releases.start(it, current)
    found = await releases.find(it, current)
    assert found is not None
    assert not found.is_done
    assert not await releases.is_settled(ENDPOINT, besides="")
    assert await releases.is_settled(ENDPOINT, besides=found.name.rpartition("/")[2])
    await store.write(lambda tx: mark_ready(tx, found.name, 64, engine="torch", precision="fp32"))
    assert (await releases.find(it, current)).is_done
    assert await releases.is_settled(ENDPOINT, besides="")  # the old one is only kept warm


async def test_a_deployment_that_cannot_run_says_why(store):
    releases, deployments, _ = releases_of(store)
    await serve_old(deployments, store)
    it, current = loop()
    await releases.start(it, current)
    found = await releases.find(it, current)
    await store.write(lambda tx: mark_failed(tx, found.name, Status(message="no memory")))
    assert (await releases.find(it, current)).error == "no memory"


async def test_with_a_plan_a_rollout_decides_and_what_it_takes_back_is_rejected(store):
    releases, deployments, rollouts = releases_of(store)
    await serve_old(deployments, store)
    plan = rollout_pb2.RolloutPlan(
        stages=[{"percent": 10}],
        metrics=[{"id": "thumbs", "signal": rollout_pb2.ROLLOUT_SIGNAL_FEEDBACK, "margin": 0.05}],
    )
    it, current = loop(rollout=plan)
    await releases.start(it, current)
    found = await releases.find(it, current)
    assert found is not None
    assert "/rollouts/" in found.name
    assert not found.is_done
    assert not found.error
    assert not await releases.is_settled(ENDPOINT, besides="")
    assert await releases.is_settled(ENDPOINT, besides=found.name.rpartition("/")[2])
    await rollouts.abort(found.name, "it is slower")
    back = await releases.find(it, current)
    assert (back.error, back.is_taken_back) == ("it is slower", True)
    assert await releases.is_settled(ENDPOINT, besides="")
