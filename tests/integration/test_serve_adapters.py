"""Adapters of a deployment over gRPC and HTTP, by a real engine, against PEFT."""

import asyncio
import os
import signal
from functools import partial

import openai
import pytest
import pytest_asyncio
from bessemer.api.serve.v1 import deployment_service_pb2 as api
from bessemer.kernel.errors import FailedPrecondition, LimitReached, NotFound
from bessemer.modeling.tokenizer import Tokenizer
from serve_svc.config import EngineConfig
from train_svc.worker.merge import merge_adapter

from tests.fixtures.adapters import make_adapter
from tests.fixtures.tiny_model import make_tiny_model
from tests.integration.test_serve_svc import VERSION, answer, refusal, world_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

RESIDENT = 2
COUNT = 5
PROMPTS = ["The furnace holds the charge. " * (1 + i) for i in range(3)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def serving(tmp_path_factory):
    """A base with adapters 0 to COUNT - 1; its engine holds RESIDENT of them at a time."""
    home, models = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("models")
    base = make_tiny_model(models / "base")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serve_svc.wiring.EngineConfig", partial(EngineConfig, adapters_max=RESIDENT))
        async with world_in(home, base) as world:
            world.base, world.says = base, [publish(world, base, models, number) for number in range(COUNT)]
            world.deployment = await world.ready()
            for number in range(COUNT):
                await load(world, f"a{number}", number)
            yield world


def version(number):
    return f"projects/default/models/adapted/versions/a{number}"


def publish(world, base, models, number, **facts):
    """Make a version as an import of what PEFT wrote makes it, and return what PEFT says."""
    says = make_adapter(base, models / f"peft{number}", number)
    merged = models / f"merged{number}"
    _, rank = merge_adapter(models / f"peft{number}", base, merged)
    facts = {"parent": VERSION, "adapter_rank": rank} | facts
    world.publish(merged, version(number), **facts)
    return says


async def load(world, adapter, number, **fields):
    decision = f"projects/default/gateDecisions/a{number}"
    fields = {"name": world.deployment.name, "model_version": version(number), "gate_decision": decision} | fields
    return await world.deployments.LoadAdapter(api.LoadAdapterRequest(adapter_id=adapter, **fields), timeout=60)


def ask(text, adapter=""):
    prompt = {"messages": [{"role": "user", "content": text}]}
    return {"prompt": prompt, "adapter": adapter, "sampling": {"temperature": 0, "max_tokens": 10}}


def expected(world, number, text):
    tokenizer = Tokenizer.from_folder(world.base)
    said = world.says[number](tokenizer.render_chat([{"role": "user", "content": text}]), 10)
    ends = [place for place, token in enumerate(said) if token in tokenizer.eos_ids]
    return said[: ends[0]] if ends else said


def resident(world):
    (engine,) = world.fleet()._engines.values()
    (one,) = [api._inference for _, api in world.process.service.servicers if hasattr(api, "_parts")]
    return one._residents.names(engine)


async def test_mixed_traffic_of_more_adapters_than_fit_says_what_peft_says(serving):
    bare = [(await answer(serving, **ask(text))).token_ids for text in PROMPTS]
    wanted = [(text, number) for _ in range(2) for number in range(COUNT) for text in PROMPTS]
    turns = asyncio.Semaphore(RESIDENT)  # more different ones at once are told to come again

    async def one(text, number):
        async with turns:
            return await answer(serving, **ask(text, f"a{number}"))

    got = await asyncio.gather(*(one(*each) for each in wanted), *(answer(serving, **ask(text)) for text in PROMPTS))
    for (text, number), said in zip(wanted, got, strict=False):
        assert tuple(said.token_ids) == expected(serving, number, text)
        assert said.model_version == version(number)
    assert [said.token_ids for said in got[len(wanted) :]] == bare
    assert len(resident(serving)) == RESIDENT


async def test_more_adapters_at_once_than_fit_are_refused_for_a_moment(serving):
    for number in range(RESIDENT):
        await answer(serving, **ask(PROMPTS[0], f"a{number}"))
    (pid,) = serving.engines()
    os.kill(pid, signal.SIGSTOP)
    try:
        running = [asyncio.ensure_future(answer(serving, **ask("x", f"a{number}"))) for number in range(RESIDENT)]
        async with asyncio.timeout(20):
            while serving.fleet().num_in_flight(serving.deployment.name) < RESIDENT:  # noqa: ASYNC110 - of a server
                await asyncio.sleep(0.01)
        error = await refusal(answer(serving, **ask(PROMPTS[0], f"a{RESIDENT}")))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (type(error), error.fields["retry_after_s"]) == (LimitReached, "2")
    await asyncio.gather(*running)
    assert (await answer(serving, **ask(PROMPTS[0], f"a{RESIDENT}"))).model_version == version(RESIDENT)


async def test_openai_client_lists_and_asks_adapters_by_name(serving):
    client = serving.openai()
    listed = {model.id: model for model in (await client.models.list()).data}
    assert set(listed) == {"chat"} | {f"chat:a{number}" for number in range(COUNT)}
    assert listed["chat:a1"].model_extra["parent"] == "chat"
    assert (await client.models.retrieve("chat:a1")).id == "chat:a1"
    messages = [{"role": "user", "content": PROMPTS[1]}]
    said = await client.chat.completions.create(model="chat:a1", messages=messages, temperature=0, max_tokens=10)
    assert said.choices[0].message.content == (await answer(serving, **ask(PROMPTS[1], "a1"))).text
    with pytest.raises(openai.NotFoundError, match="a0, a1"):
        await client.chat.completions.create(model="chat:nobody", messages=messages)
    with pytest.raises(openai.InternalServerError) as caught:
        await client.embeddings.create(model="chat:a1", input="x")
    assert (caught.value.status_code, caught.value.code) == (501, "not_supported")


async def test_adapter_of_another_base_without_gate_or_without_adapters_is_refused(serving, tmp_path):
    other = make_tiny_model(tmp_path / "other", seed=5)
    serving.publish(other, "projects/default/models/other/versions/o1")
    publish(serving, other, tmp_path, 7, parent="projects/default/models/other/versions/o1")
    error = await refusal(load(serving, "x", 7))
    assert (type(error), error.reason) == (FailedPrecondition, "ADAPTER_MISMATCH")
    assert VERSION in error.message
    error = await refusal(load(serving, "x", 1, gate_decision="projects/default/gateDecisions/a2"))
    assert error.reason == "GATE_NOT_PASSED"
    publish(serving, serving.base, tmp_path, 8, adapter_rank=0)
    assert (await refusal(load(serving, "x", 8))).reason == "ADAPTER_MISMATCH"
    assert (await refusal(answer(serving, **ask("x", "x")))).fields["field"] == "adapter"


async def test_adapter_replaced_under_its_id_answers_from_the_next_request_on(serving):
    before = await answer(serving, **ask(PROMPTS[2], "a3"))
    changed = await load(serving, "a3", 4)
    assert [one.model_version for one in changed.adapters if one.id == "a3"] == [version(4)]
    after = await answer(serving, **ask(PROMPTS[2], "a3"))
    assert (before.model_version, after.model_version) == (version(3), version(4))
    assert tuple(after.token_ids) == expected(serving, 4, PROMPTS[2])
    unload = api.UnloadAdapterRequest(name=serving.deployment.name, adapter_id="a3")
    await serving.deployments.UnloadAdapter(unload)
    assert isinstance(await refusal(answer(serving, **ask("x", "a3"))), NotFound)
    assert isinstance(await refusal(serving.deployments.UnloadAdapter(unload)), NotFound)
    await load(serving, "a3", 3)


async def test_adapters_come_back_after_the_engine_was_killed(serving):
    (pid,) = serving.engines()
    os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.2)
    await serving.answering()
    assert tuple((await answer(serving, **ask(PROMPTS[0], "a1"))).token_ids) == expected(serving, 1, PROMPTS[0])
