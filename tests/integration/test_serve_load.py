"""Many clients at once, of whom some leave and some cut the line, and an engine that is killed under them."""

import asyncio
import os
import random
import signal

import grpc
import httpx
import pytest
from bessemer.api.serve.v1 import inference_service_pb2 as api
from bessemer.kernel.errors import Unavailable
from bessemer.svckit.status import from_rpc_error
from serve_svc.api.inference import InferenceApi

from tests.fixtures.tiny_model import make_tiny_model
from tests.integration.test_serve_svc import ENDPOINT, answer, generate, stream, until, world_in

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

CLIENTS = 64


async def leaves_over_grpc(world, source):
    """Read some pieces, then cancel, or read all."""
    call = stream(
        world, sampling={"max_tokens": source.randint(1, 120), "temperature": 1, "seed": source.randint(0, 99)}
    )
    for _ in range(source.randint(0, 8)):
        if not await call.read():
            return "whole"
    if source.random() < 0.6:
        call.cancel()
        return "cancelled"
    while await call.read():
        pass
    return "whole"


async def leaves_over_http(world, source):
    """Read some bytes, then close the connection, or read all."""
    ask = {"model": "chat", "prompt": "The capital", "max_tokens": source.randint(1, 120), "stream": True}
    headers = {"authorization": f"Bearer {world.token}"}
    async with (
        httpx.AsyncClient(base_url=f"http://{world.http_address}", headers=headers, timeout=60) as client,
        client.stream("POST", "/v1/completions", json=ask) as response,
    ):
        assert response.status_code == 200
        number = source.randint(0, 8) if source.random() < 0.6 else 10_000
        async for line in response.aiter_lines():
            assert "error" not in line
            number -= 1
            if number < 0:
                return "cancelled"
    return "whole"


async def times_out(world, source):
    """Give less time than an answer takes."""
    sampling = {"max_tokens": 400, "temperature": 1}
    request = api.GenerateRequest(**generate(sampling=sampling))
    try:
        await world.inference.Generate(request, timeout=source.uniform(0.05, 0.5))
    except grpc.RpcError as error:
        # An answer in time is good too, and so is a refusal of what arrived with no time left.
        late = error.code() is grpc.StatusCode.INVALID_ARGUMENT and "give the call more time" in (error.details() or "")
        assert late or error.code() is grpc.StatusCode.DEADLINE_EXCEEDED  # noqa: PT017
        return "cancelled"
    return "whole"


async def aborts(world, source):
    """End one's own answer from beside it."""
    call = stream(world, sampling={"max_tokens": 200, "temperature": 1})
    first = await call.read()
    await asyncio.sleep(source.uniform(0, 0.1))
    await world.inference.AbortRequest(api.AbortRequestRequest(target=ENDPOINT, response_id=first.response_id))
    while await call.read():
        pass
    return "whole"


async def test_clients_that_leave_in_every_way_leak_no_slot(tmp_path):
    async with world_in(tmp_path / "home", make_tiny_model(tmp_path / "model")) as world:
        await world.ready()
        expected = (await answer(world)).text
        ways = [leaves_over_grpc, leaves_over_http, times_out, aborts]

        async def client(number):
            mine = random.Random(number)
            return [await leave(world, mine) for leave in mine.sample(ways, 3)]

        async with asyncio.timeout(120):
            outcomes = [o for many in await asyncio.gather(*map(client, range(CLIENTS))) for o in many]
        assert len(outcomes) == 3 * CLIENTS
        assert {"whole", "cancelled"} == set(outcomes)
        await until(lambda: not world.fleet()._num_in_flight)
        (engine,) = world.fleet()._engines.values()
        assert not engine._replies
        (served,) = (one for _, one in world.process.service.servicers if isinstance(one, InferenceApi))
        assert not served._inference._running
        # All eight slots answer, at once and as before.
        again = await asyncio.gather(*(answer(world) for _ in range(8)))
        assert {said.text for said in again} == {expected}


async def test_engine_killed_under_sixty_four_streams_hangs_nobody(tmp_path):
    async with world_in(tmp_path / "home", make_tiny_model(tmp_path / "model")) as world:
        await world.ready()
        began = asyncio.Event()

        async def client(number):
            call = stream(world, sampling={"max_tokens": 400, "temperature": 1, "seed": number})
            try:
                while await call.read():
                    began.set()
            except grpc.RpcError as error:
                return from_rpc_error(error)
            return None

        tasks = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
        await began.wait()
        await asyncio.sleep(0.5)
        (engine,) = world.engines()
        os.kill(engine, signal.SIGKILL)
        async with asyncio.timeout(30):
            outcomes = await asyncio.gather(*tasks)
        errors = [error for error in outcomes if error is not None]
        assert len(errors) > CLIENTS // 2
        for error in errors:
            assert (type(error), error.reason, error.fields["retry_after_s"]) == (Unavailable, "MODEL_LOADING", "2")
        assert (await world.answering()).text
        await until(lambda: not world.fleet()._num_in_flight)
