"""Endpoints whose engine is a server with OpenAI's API: our own door, llama.cpp's server, and one that misbehaves."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from contextlib import aclosing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import pytest_asyncio
from bessemer.api.serve.v1 import deployment_pb2
from bessemer.api.serve.v1 import deployment_service_pb2 as api
from bessemer.api.serve.v1 import inference_service_pb2 as inference
from bessemer.kernel.errors import (
    FailedPrecondition,
    InvalidRequest,
    LimitReached,
    Unavailable,
    Unimplemented,
)
from bessemer.svckit.config import InferenceServer
from serve_svc.adapters.openai_http import OpenAIServers
from serve_svc.engine.protocol import Constraint, Prompt, Sampling, Tool, Turn
from train_svc.worker.exports.gguf_file import write_gguf

from tests.fixtures.tiny_model import make_tiny_model
from tests.integration.test_serve_requests import MESSAGES, WEATHER
from tests.integration.test_serve_svc import READY, answer, refusal, stream, until, world_in

pytestmark = pytest.mark.asyncio(loop_scope="module")
REMOTE = "projects/default/endpoints/remote"
TOOL = {"name": "weather", "parameters_json": json.dumps(WEATHER["function"]["parameters"])}
LLAMA = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_parallel, params.n_ctx, params.cache_ram_mib, params.warmup = 2, 1024, 0, False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
time.sleep(600)
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def serving(tmp_path_factory):
    """A service whose endpoint `remote` is computed by the service's own door to endpoint `chat`."""
    home, model = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("models") / "one"
    make_tiny_model(model, max_position_embeddings=1024)
    async with world_in(home, model) as world:
        await world.ready()
        servers = world.process.service.background[0].__self__._servers._servers
        servers["own"] = InferenceServer(f"http://{world.http_address}/v1", world.token)
        await deploy(world)
        yield world


async def deploy(world, endpoint="remote", **fields):
    create = api.CreateEndpointRequest(parent="projects/default", endpoint_id=endpoint)
    await world.deployments.CreateEndpoint(create)
    fields = {"server": "own", "served_model": "chat", "gate_decision": "projects/default/gateDecisions/v1"} | fields
    made = await world.deploy(endpoint=f"projects/default/endpoints/{endpoint}", **fields)
    return await world.wait(made.name)


async def test_deployment_of_a_server_says_so_and_answers_as_the_server_does(serving):
    (made,) = (await serving.deployments.ListDeployments(api.ListDeploymentsRequest(parent=REMOTE))).deployments
    assert (made.state, made.engine, made.server) == (READY, "openai_http", "own")
    assert made.precision == deployment_pb2.PRECISION_UNSPECIFIED
    ours, theirs = await answer(serving), await answer(serving, target=REMOTE)
    assert (theirs.text, theirs.finish_reason, theirs.usage) == (ours.text, ours.finish_reason, ours.usage)
    assert theirs.model_version == ours.model_version
    pieces = [piece async for piece in stream(serving, target=REMOTE)]
    assert "".join(piece.text_delta for piece in pieces) == ours.text
    assert pieces[-1].usage == ours.usage
    plain = {"prompt": {"text": "It is"}, "sampling": {"temperature": 0, "max_tokens": 5, "top_logprobs": 2}}
    ours, theirs = await answer(serving, **plain), await answer(serving, target=REMOTE, **plain)
    assert ours.text == theirs.text
    assert [one.logprob for one in theirs.logprobs] == pytest.approx([one.logprob for one in ours.logprobs], abs=1e-6)
    client = serving.openai()
    said = await client.chat.completions.create(model="remote", messages=MESSAGES, temperature=0, max_tokens=12)
    assert said.choices[0].message.content == (await answer(serving)).text


async def test_tools_schemas_and_vectors_go_through(serving):
    forced = {"messages": MESSAGES, "tools": [TOOL], "tool_choice": 3, "single_tool_call": True}
    ask = {"prompt": forced, "sampling": {"temperature": 1, "seed": 3, "max_tokens": 200}}
    ours, theirs = await answer(serving, **ask), await answer(serving, target=REMOTE, **ask)
    assert theirs.tool_calls[0].name == "weather"
    assert json.loads(theirs.tool_calls[0].arguments) == json.loads(ours.tool_calls[0].arguments)
    assert theirs.finish_reason == inference.FINISH_REASON_TOOL_CALLS
    schema = {"temperature": 1, "max_tokens": 50, "constraint": {"json_schema": json.dumps({"enum": [1, "x"]})}}
    assert json.loads((await answer(serving, target=REMOTE, sampling=schema)).text) in (1, "x")
    texts = ["The furnace", "holds"]
    ours, theirs = [
        await serving.inference.Embed(inference.EmbedRequest(target=target, texts=texts))
        for target in ("projects/default/endpoints/chat", REMOTE)
    ]
    assert [list(one.values) for one in theirs.embeddings] == [list(one.values) for one in ours.embeddings]
    prompt = {"messages": MESSAGES}
    counts = [
        (await serving.inference.CountTokens(inference.CountTokensRequest(target=target, prompt=prompt))).tokens
        for target in ("projects/default/endpoints/chat", REMOTE)
    ]
    assert counts[0] == counts[1]


async def test_what_the_api_cannot_say_is_unimplemented(serving):
    score = inference.ScoreRequest(target=REMOTE, prompt={"messages": MESSAGES}, continuations=["x"])
    tokens = inference.TokenizeRequest(target=REMOTE, prompt={"messages": MESSAGES})
    grammar = {"constraint": {"regex": "[ab]+"}}
    for call in (
        serving.inference.Score(score),
        serving.inference.Tokenize(tokens),
        answer(serving, target=REMOTE, sampling=grammar),
    ):
        error = await refusal(call)
        assert (type(error), error.reason) == (Unimplemented, "NOT_SUPPORTED")


async def test_caller_that_leaves_or_aborts_frees_the_servers_slot(serving):
    fleet = serving.fleet()
    (local,) = [name for name in fleet._engines if "/chat/" in name]
    call = stream(serving, target=REMOTE, sampling={"temperature": 1, "max_tokens": 900})
    first = await call.read()
    assert fleet.num_in_flight(local) == 1
    call.cancel()
    await until(lambda: not fleet.num_in_flight(local))
    call = stream(serving, target=REMOTE, sampling={"temperature": 1, "max_tokens": 900, "seed": 1})
    first = await call.read()
    abort = inference.AbortRequestRequest(target=REMOTE, response_id=first.response_id)
    assert (await serving.inference.AbortRequest(abort)).aborted
    while piece := await call.read():
        last = piece
    assert last.finish_reason == inference.FINISH_REASON_ABORTED
    await until(lambda: not fleet.num_in_flight(local))


async def test_server_or_model_that_is_not_there_is_said_at_once(serving):
    error = await refusal(serving.deploy(endpoint=REMOTE, server="gpu"))
    assert (type(error), error.fields["field"]) == (InvalidRequest, "server")
    assert "own" in error.message
    with pytest.raises(AssertionError, match="it has chat"):
        await deploy(serving, "typo", served_model="chta")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """llama.cpp's server with the tiny model, in a process of its own."""
    folder = tmp_path_factory.mktemp("llama")
    write_gguf(make_tiny_model(folder / "model"), folder / "tiny.gguf", "fp16", {})
    command = [sys.executable, "-c", LLAMA, str(folder / "tiny.gguf")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield process, InferenceServer(process.stdout.readline().decode().strip() + "/v1")
    finally:
        process.kill()
        process.wait()


async def connect(server, **fields):
    fields = {"name": "projects/p/endpoints/e/deployments/d", "server": "s", "context_length": 128} | fields
    return await OpenAIServers({"s": server}).connect(deployment_pb2.Deployment(**fields))


async def said(engine, prompt, **sampling):
    async with aclosing(engine.generate(prompt, Sampling(**sampling))) as pieces:
        return [piece async for piece in pieces]


async def test_llama_cpp_answers_and_says_what_it_lacks(llama):
    process, server = llama
    engine = await connect(server)
    assert (engine.owner, await engine.responds(10)) == ("llamacpp", True)
    prompt = Prompt((Turn("user", "The furnace"),))
    pieces = await said(engine, prompt, temperature=0.0, max_tokens=8, logprobs=2)
    assert pieces[-1].finish == "length"
    assert pieces[-1].completion_tokens == 8
    assert len([one for piece in pieces for one in piece.logprobs]) == 8
    again = await said(engine, prompt, temperature=0.0, max_tokens=8)
    assert "".join(piece.text for piece in pieces) == "".join(piece.text for piece in again)
    assert await engine.count_tokens(prompt) == pieces[-1].prompt_tokens
    schema = Constraint("json_schema", json.dumps({"enum": ["left", "right"]}))
    assert json.loads("".join(p.text for p in await said(engine, prompt, constraint=schema))) in {"left", "right"}
    with pytest.raises(Unimplemented, match="embeddings"):
        await engine.embed(["x"])
    running = engine.generate(prompt, Sampling(max_tokens=100, temperature=0.0))
    await anext(running)
    process.kill()
    process.wait()
    with pytest.raises(Unavailable):
        async for _ in running:
            pass
    with pytest.raises(Unavailable) as caught:
        await said(engine, prompt)
    assert caught.value.fields["retry_after_s"] == "2"
    assert not await engine.responds(2)
    await engine.close()


class Naughty(BaseHTTPRequestHandler):
    """Lists one model, and answers as `script` says: status, headers, lines of the body, seconds before each."""

    script = (200, {}, [], 0.0)

    def log_message(self, *_args):
        """Keep quiet."""

    def do_GET(self):
        self.reply(200, {}, [json.dumps({"data": [{"id": "m", "max_model_len": 64}]})], 0)

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.reply(*self.script)

    def reply(self, status, headers, lines, wait_s):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for line in lines:
            time.sleep(wait_s)
            self.wfile.write(line.encode() + b"\n\n")
            self.wfile.flush()


@contextmanager
def naughty():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Naughty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield InferenceServer(f"http://127.0.0.1:{server.server_port}/v1")
    finally:
        server.shutdown()
        server.server_close()


def event(**delta):
    return "data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]})


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ((429, {"retry-after": "7"}, [json.dumps({"error": {"message": "full"}})], 0), LimitReached, "full"),
        ((503, {}, ["<html>bad gateway</html>"], 0), Unavailable, "503"),
        ((400, {}, [json.dumps({"error": {"message": "no such role"}})], 0), InvalidRequest, "no such role"),
        ((401, {}, ["{}"], 0), FailedPrecondition, "key"),
        ((404, {}, [json.dumps({"message": "model gone"})], 0), FailedPrecondition, "model gone"),
        ((200, {}, [event(content="half an ans")], 0), Unavailable, "in the middle"),
        ((200, {}, ["data: {not json"], 0), Unavailable, "no JSON"),
        ((200, {}, ["data: [1]"], 0), Unavailable, "no object"),
        ((200, {}, [event(content="x"), 'data: {"error": {"message": "engine died"}}'], 0), Unavailable, "engine died"),
    ],
)
async def test_refusals_of_a_server_become_typed_errors(script, kind, words):
    Naughty.script = script
    with naughty() as server:
        engine = await connect(server)
        assert engine.context_length == 64
        with pytest.raises(kind, match=words) as caught:
            await said(engine, Prompt(text="x"))
        if kind is LimitReached:
            assert caught.value.fields["retry_after_s"] == "7"
        await engine.close()


async def test_slow_first_token_comments_and_calls_in_pieces_are_read():
    call = {"index": 0, "id": "c", "function": {"name": "weather", "arguments": '{"city"'}}
    rest = {"index": 0, "function": {"arguments": ': "Rome"}'}}
    end = "data: " + json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    usage = "data: " + json.dumps({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}})
    lines = [": ping", event(role="assistant"), event(tool_calls=[call]), event(tool_calls=[rest]), end, usage]
    Naughty.script = (200, {}, [*lines, "data: [DONE]"], 0.1)
    with naughty() as server:
        engine = await connect(server)
        prompt = Prompt((Turn("user", "x"),), tools=(Tool("weather"),))
        (last,) = await said(engine, prompt)
        assert last.text == '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
        assert (last.finish, last.prompt_tokens, last.completion_tokens) == ("stop", 9, 4)
        running = asyncio.ensure_future(said(engine, prompt))
        await asyncio.sleep(0.15)
        (request_id,) = engine._aborted
        await engine.abort(request_id)
        assert (await running)[-1].finish == "abort"
        await engine.close()
