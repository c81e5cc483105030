"""Whether serving stays as it is under mixed load: memory over time, slots, answers that change.

python tests/bench/bench_soak.py [minutes]: 24 clients ask in every way for so long (20 by default), over gRPC and HTTP:
plain and streamed answers, schemas (a new one each time, so that compiled grammars are thrown out), tools, scores,
vectors, requests that are refused, and callers that leave. The clients live in the service's process, the engine has
one of its own; both are measured every ten seconds. The model is the tiny one: what leaks per request leaks all the
sooner.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import grpc
import openai
import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bessemer.api.serve.v1 import inference_service_pb2 as api  # noqa: E402
from bessemer.svckit.status import from_rpc_error  # noqa: E402

from tests.fixtures.schemas import random_schema  # noqa: E402
from tests.fixtures.tiny_model import make_tiny_model  # noqa: E402
from tests.integration.test_serve_svc import ENDPOINT, answer, stream, world_in  # noqa: E402

CLIENTS = 24
EVERY_S = 10.0
SETTLED = 0.25  # of the time, before memory counts: caches fill
GROWTH_GOAL = 0.5  # MB a minute


async def whole(world, source):
    await answer(world, sampling={"temperature": 1, "max_tokens": source.randint(1, 60)})


async def schema(world, source):
    text = json.dumps(random_schema(source, 1))
    said = await answer(world, sampling={"temperature": 1, "max_tokens": 200, "constraint": {"json_schema": text}})
    if said.finish_reason == api.FINISH_REASON_STOP:
        json.loads(said.text)


async def leaves(world, source):
    call = stream(world, sampling={"temperature": 1, "max_tokens": 200})
    for _ in range(source.randint(0, 4)):
        await call.read()
    call.cancel()


async def over_http(world, source):
    client = world.client
    ask = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 40}
    chunks = await client.chat.completions.create(**ask, n=2, stream=True)
    number = source.randint(1, 40)
    async for _ in chunks:
        number -= 1
        if number == 0:
            break
    await chunks.close()


async def tool(world, source):
    schema = json.dumps({"properties": {"a": {"enum": [1, 2]}}, "additionalProperties": False})
    prompt = {"messages": [{"role": "user", "content": "x"}], "tools": [{"name": "t", "parameters_json": schema}]}
    forced = prompt | {"tool_choice": 3, "single_tool_call": True}
    said = await answer(world, prompt=forced, sampling={"temperature": 1, "max_tokens": 100})
    json.loads(said.tool_calls[0].arguments)


async def vectors(world, source):
    await world.client.embeddings.create(model="chat", input=["word " * source.randint(1, 50)])
    request = api.ScoreRequest(target=ENDPOINT, prompt={"text": "a"}, continuations=["b c", "d"], top_logprobs=2)
    await world.inference.Score(request)


async def refused(world, source):
    bad = source.choice([{"regex": "("}, {"json_schema": "{"}, {"grammar": "start: x"}])
    with contextlib.suppress(grpc.RpcError):
        await answer(world, sampling={"constraint": bad})
        raise AssertionError("a bad constraint was taken")


WAYS = (whole, whole, schema, leaves, over_http, tool, vectors, refused)


async def client(world, number, end_s, counts):
    source = random.Random(number)
    while time.monotonic() < end_s:
        way = source.choice(WAYS)
        try:
            async with asyncio.timeout(60):
                await way(world, source)
            counts[way.__name__] += 1
        except grpc.RpcError as error:
            counts[f"error {from_rpc_error(error).reason}"] += 1
        except openai.APIError as error:
            counts[f"error {error.code}"] += 1
        except TimeoutError:
            counts["hung for 60 s"] += 1


async def measure(world, began_s, end_s, curve):
    (engine,) = world.engines()
    while time.monotonic() < end_s:
        rss = [psutil.Process(pid).memory_info().rss / 2**20 for pid in (psutil.Process().pid, engine)]
        curve.append(((time.monotonic() - began_s) / 60, *rss))
        await asyncio.sleep(EVERY_S)


async def soak(minutes):
    counts, curve = collections.Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        home, model = Path(folder) / "home", make_tiny_model(Path(folder) / "model", max_position_embeddings=2048)
        home.mkdir()
        async with world_in(home, model) as world:
            await world.ready()
            world.client = world.openai()
            before = (await answer(world)).text
            began_s = time.monotonic()
            end_s = began_s + minutes * 60
            work = [client(world, number, end_s, counts) for number in range(CLIENTS)]
            await asyncio.gather(measure(world, began_s, end_s, curve), *work)
            await asyncio.sleep(1)
            leaked = sum(world.fleet()._num_in_flight.values())
            changed = sum([(await answer(world)).text != before for _ in range(8)])
    return counts, curve, leaked, changed


def growth(curve, column):
    """Return MB a minute by least squares, after the caches have filled."""
    points = [(point[0], point[column]) for point in curve if point[0] >= curve[-1][0] * SETTLED]
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def main() -> None:
    """Soak, print the table, write `build/bench/soak.json`."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    counts, curve, leaked, changed = asyncio.run(soak(minutes))
    failures = sum(number for name, number in counts.items() if name.startswith(("error", "hung")))
    facts = [
        ("minutes", minutes, None),
        ("requests", sum(counts.values()), None),
        ("requests that failed and should not", failures, 0),
        ("slots in use at the end", leaked, 0),
        ("of 8 greedy answers, changed ones", changed, 0),
        ("service and clients: MB a minute", growth(curve, 1), GROWTH_GOAL),
        ("engine: MB a minute", growth(curve, 2), GROWTH_GOAL),
        ("service and clients: MB at the end", curve[-1][1], None),
        ("engine: MB at the end", curve[-1][2], None),
    ]
    rows = [
        {"metric": name, "ours": round(ours, 3), "peer": None, "ratio": None, "limit": None, "goal": goal}
        for name, ours, goal in facts
    ]
    path = ROOT / "build" / "bench" / "soak.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"rows": rows, "counts": counts, "curve": curve}, indent=1))
    for each in rows:
        print(f"{each['metric']:40} {each['ours']:>10}   goal {each['goal']}")
    print(dict(counts))
    step = max(1, len(curve) // 12)
    print(
        "\n".join(
            f"minute {at:5.1f}  service {ours:6.0f} MB  engine {theirs:6.0f} MB" for at, ours, theirs in curve[::step]
        )
    )


if __name__ == "__main__":
    main()
