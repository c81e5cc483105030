"""API keys over both doors: made, limited, counted, revoked."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import grpc
import httpx
import openai
import pytest
import pytest_asyncio
import sqlalchemy
from bessemer.api.serve.v1 import api_key_pb2, api_key_service_pb2, api_key_service_pb2_grpc, inference_service_pb2
from bessemer.api.serve.v1.inference_service_pb2_grpc import InferenceServiceStub
from bessemer.kernel.errors import FailedPrecondition, LimitReached, PermissionDenied, Unauthenticated
from bessemer.svckit.client import channel
from bessemer.svckit.status import from_rpc_error

from tests.fixtures.tiny_model import make_tiny_model
from tests.integration.test_serve_svc import ENDPOINT, generate, refusal, world_in

pytestmark = pytest.mark.asyncio(loop_scope="module")
PARENT = "projects/default"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def serving(tmp_path_factory):
    home, model = tmp_path_factory.mktemp("home"), make_tiny_model(tmp_path_factory.mktemp("models") / "one")
    async with world_in(home, model) as world:
        await world.ready()
        world.keys = api_key_service_pb2_grpc.ApiKeyServiceStub(world._channel)
        yield world


async def make(world, key_id, limits=None, **fields):
    key = api_key_pb2.ApiKey(display_name=key_id, limits=limits or {}, **fields)
    request = api_key_service_pb2.CreateApiKeyRequest(parent=PARENT, api_key_id=key_id, api_key=key, request_id=key_id)
    return await world.keys.CreateApiKey(request)


async def usage(world, name):
    found = await world.keys.GetApiKeyUsage(api_key_service_pb2.GetApiKeyUsageRequest(name=name))
    return found.days


def ask(**fields):
    return {"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5} | fields


async def test_key_is_shown_once_and_stored_as_a_digest(serving):
    key = await make(serving, "once")
    assert key.secret.startswith("bsk_")
    assert key.hint == key.secret[:10]
    again = await make(serving, "once")  # the same request id: a retry
    assert (again.uid, again.secret) == (key.uid, "")
    got = await serving.keys.GetApiKey(api_key_service_pb2.GetApiKeyRequest(name=key.name))
    listed = await serving.keys.ListApiKeys(api_key_service_pb2.ListApiKeysRequest(parent=PARENT))
    assert got.secret == ""
    assert got in listed.api_keys
    database = sqlalchemy.create_engine(f"sqlite:///{serving.home}/serve/service.db")
    with database.connect() as connection:
        for table in ("resources", "changes", "api_keys", "audit", "idempotency"):
            rows = connection.execute(sqlalchemy.text(f"SELECT * FROM {table}")).all()  # noqa: S608 - names of ours
            assert key.secret[10:] not in repr(rows)


async def test_key_asks_models_of_its_project_and_nothing_else(serving):
    key = await make(serving, "narrow")
    client = serving.openai(api_key=key.secret)
    assert (await client.chat.completions.create(**ask())).usage.completion_tokens <= 5
    assert [model.id for model in (await client.models.list()).data] == ["chat"]
    with pytest.raises(openai.PermissionDeniedError):
        await client.chat.completions.create(**ask(model="projects/other/endpoints/chat"))
    async with channel(serving.process.address, token=key.secret) as own:
        request = inference_service_pb2.GenerateRequest(**generate())
        assert (await InferenceServiceStub(own).Generate(request)).text
        stub = api_key_service_pb2_grpc.ApiKeyServiceStub(own)
        error = await refusal(stub.ListApiKeys(api_key_service_pb2.ListApiKeysRequest(parent=PARENT)))
        assert isinstance(error, PermissionDenied)


async def test_key_revoked_expired_or_made_up_is_refused_at_once(serving):
    key = await make(serving, "gone")
    request = api_key_service_pb2.RevokeApiKeyRequest(name=key.name)
    revoked = await serving.keys.RevokeApiKey(request)
    assert revoked.HasField("revoke_time")
    assert (await serving.keys.RevokeApiKey(request)).revision == revoked.revision
    late = api_key_pb2.ApiKey()
    late.expire_time.FromDatetime(datetime.now(UTC) - timedelta(seconds=1))
    old = await make(serving, "old", expire_time=late.expire_time)
    for secret, word in ((key.secret, "revoked"), (old.secret, "expired"), ("bsk_" + "x" * 43, "not known")):
        with pytest.raises(openai.AuthenticationError, match=word):
            await serving.openai(api_key=secret).chat.completions.create(**ask())
        async with channel(serving.process.address, token=secret) as own:
            request = inference_service_pb2.GenerateRequest(**generate())
            assert isinstance(await refusal(InferenceServiceStub(own).Generate(request)), Unauthenticated)
    change = api_key_service_pb2.SetApiKeyLimitsRequest(name=key.name, limits={"tokens_per_day": 1})
    assert isinstance(await refusal(serving.keys.SetApiKeyLimits(change)), FailedPrecondition)


async def test_requests_a_minute_are_limited_and_told_in_headers(serving):
    key = await make(serving, "requests", {"requests_per_minute": 3, "tokens_per_minute": 10_000})
    headers = {"authorization": f"Bearer {key.secret}"}
    async with httpx.AsyncClient(base_url=f"http://{serving.http_address}/v1", headers=headers) as client:
        replies = [await client.post("/chat/completions", json=ask()) for _ in range(5)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429]
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["2", "1", "0", "0", "0"]
    assert replies[0].headers["x-ratelimit-limit-requests"] == "3"
    assert 9_000 < int(replies[0].headers["x-ratelimit-remaining-tokens"]) <= 10_000
    assert 1 <= int(replies[3].headers["retry-after"]) <= 20
    error = replies[3].json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    with pytest.raises(openai.RateLimitError):
        await serving.openai(api_key=key.secret).chat.completions.create(**ask(stream=True))
    async with channel(serving.process.address, token=key.secret) as own:
        with pytest.raises(grpc.RpcError) as caught:
            await InferenceServiceStub(own).Generate(inference_service_pb2.GenerateRequest(**generate()), timeout=5)
    error = from_rpc_error(caught.value)
    assert isinstance(error, LimitReached)
    assert 0 < float(error.fields["retry_after_s"]) <= 20
    (today,) = await usage(serving, key.name)
    assert (today.requests, today.refused_requests) == (3, 4)


async def test_tokens_a_minute_are_reserved_before_and_settled_after(serving):
    key = await make(serving, "tokens", {"tokens_per_minute": 300})
    client = serving.openai(api_key=key.secret)
    with pytest.raises(openai.RateLimitError, match="ask for fewer"):
        await client.chat.completions.create(**ask(max_tokens=400))
    # Two together would reserve more than there is, though each alone uses little.
    asks = [client.chat.completions.create(**ask(max_tokens=200, stop=["e"], seed=1)) for _ in range(2)]
    first, second = await asyncio.gather(*asks, return_exceptions=True)
    failed = [outcome for outcome in (first, second) if isinstance(outcome, openai.RateLimitError)]
    assert len(failed) == 1
    done = second if failed[0] is first else first
    (today,) = await usage(serving, key.name)
    assert today.prompt_tokens + today.completion_tokens == done.usage.total_tokens


async def test_tokens_a_day_end_with_the_day_and_outlive_a_restart(tmp_path):
    async with world_in(tmp_path / "home", make_tiny_model(tmp_path / "model")) as world:
        await world.ready()
        world.keys = api_key_service_pb2_grpc.ApiKeyServiceStub(world._channel)
        key = await make(world, "day", {"tokens_per_day": 60})
        used = (await world.openai(api_key=key.secret).chat.completions.create(**ask(max_tokens=20))).usage.total_tokens
        await world.stop()
        await world.start()
        await world.answering()
        world.keys = api_key_service_pb2_grpc.ApiKeyServiceStub(world._channel)
        (today,) = await usage(world, key.name)
        assert today.prompt_tokens + today.completion_tokens == used
        with pytest.raises(openai.RateLimitError, match="tomorrow") as caught:
            await world.openai(api_key=key.secret).chat.completions.create(**ask(max_tokens=60 - used + 1))
        left_s = int(caught.value.response.headers["retry-after"])
        assert left_s == pytest.approx(86_400 - time.time() % 86_400, abs=10)
        change = api_key_service_pb2.SetApiKeyLimitsRequest(name=key.name, limits={"tokens_per_day": 10_000})
        await world.keys.SetApiKeyLimits(change)
        assert await world.openai(api_key=key.secret).chat.completions.create(**ask(max_tokens=50))


async def test_embeddings_and_scores_are_charged(serving):
    key = await make(serving, "vectors")
    vectors = await serving.openai(api_key=key.secret).embeddings.create(model="chat", input=["a b c", "d"])
    async with channel(serving.process.address, token=key.secret) as own:
        request = inference_service_pb2.ScoreRequest(target=ENDPOINT, prompt={"text": "x"}, continuations=["y"])
        scored = await InferenceServiceStub(own).Score(request)
    total = vectors.usage.prompt_tokens + scored.usage.prompt_tokens + scored.usage.completion_tokens
    (today,) = await usage(serving, key.name)
    assert (today.requests, today.prompt_tokens, today.completion_tokens) == (2, total, 0)


async def test_cancelled_answer_is_charged_for_what_was_generated(serving):
    key = await make(serving, "cancelled", {"tokens_per_minute": 2000})
    chunks = await serving.openai(api_key=key.secret).chat.completions.create(**ask(max_tokens=400, stream=True))
    async for _ in chunks:
        break
    await chunks.close()
    async with asyncio.timeout(10):
        while not (days := await usage(serving, key.name)) or not days[0].completion_tokens:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert 0 < days[0].completion_tokens < 400
