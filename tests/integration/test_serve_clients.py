"""One question asked by everybody's stock client: the same seed gives the same text."""

import asyncio
import json
import shutil
from pathlib import Path

import langchain_core.messages as langchain_messages
import langchain_openai
import openai
import pydantic
import pytest
import pytest_asyncio
from bessemer.sdk import Client
from bessemer.sdk.connection import Connection

from tests.fixtures.tiny_model import make_tiny_model
from tests.integration.test_serve_svc import ENDPOINT, answer, stream, world_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "What is the capital of France?"
SETTINGS = {"temperature": 1.1, "seed": 21, "max_tokens": 24, "top_p": 0.9}
PACKAGES = ("@grpc/grpc-js@1.14.7", "@grpc/proto-loader@0.8.1")
NODE_PROGRAM = """
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const [address, token, protos, request] = process.argv.slice(1);
const options = {keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true,
                 includeDirs: [protos, protos + '/third_party']};
const definition = loader.loadSync('bessemer/api/serve/v1/inference_service.proto', options);
const {InferenceService} = grpc.loadPackageDefinition(definition).bessemer.api.serve.v1;
const client = new InferenceService(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set('authorization', 'Bearer ' + token);
const ask = JSON.parse(request);
client.Generate(ask, metadata, (error, whole) => {
  if (error) throw error;
  let text = '', finish = '', calls = [];
  const pieces = client.StreamGenerate(ask, metadata);
  pieces.on('data', piece => {
    text += piece.text_delta; finish = piece.finish_reason; calls = calls.concat(piece.tool_calls);
  });
  pieces.on('error', error => { throw error; });
  pieces.on('end', () => client.Generate({...ask, target: 'projects/default/endpoints/nobody'}, metadata, refused => {
    console.log(JSON.stringify({whole, text, finish, calls, code: refused.code}));
    client.close();
  }));
});
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def serving(tmp_path_factory):
    home, model = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("models") / "one"
    make_tiny_model(model, max_position_embeddings=2048)
    async with world_in(home, model) as world:
        await world.ready()
        yield world


@pytest.fixture
def chat_model(serving):
    return langchain_openai.ChatOpenAI(
        model="chat",
        base_url=f"http://{serving.http_address}/v1",
        api_key=serving.token,
        temperature=SETTINGS["temperature"],
        top_p=SETTINGS["top_p"],
        seed=SETTINGS["seed"],
        max_tokens=SETTINGS["max_tokens"],
        max_retries=0,
    )


async def reference(serving, **fields):
    return await answer(serving, sampling=SETTINGS, **fields)


async def test_every_client_hears_the_same_text(serving, chat_model):
    expected = (await reference(serving)).text
    said = {"gRPC stream": "".join([piece.text_delta async for piece in stream(serving, sampling=SETTINGS)])}
    ask = {"model": "chat", "messages": [{"role": "user", "content": QUESTION}], **SETTINGS}
    said["openai, async"] = (await serving.openai().chat.completions.create(**ask)).choices[0].message.content
    chunks = await serving.openai().chat.completions.create(**ask, stream=True)
    said["openai, async stream"] = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
    said |= await asyncio.to_thread(_by_sync_clients, serving, ask)
    question = [langchain_messages.HumanMessage(QUESTION)]
    said["langchain"] = (await chat_model.ainvoke(question)).content
    said["langchain stream"] = "".join([chunk.content async for chunk in chat_model.astream(question)])
    assert said == dict.fromkeys(said, expected)
    assert len(said) == 8


def _by_sync_clients(serving, ask):
    said = {}
    with openai.OpenAI(base_url=f"http://{serving.http_address}/v1", api_key=serving.token) as client:
        said["openai, sync"] = client.chat.completions.create(**ask).choices[0].message.content
        chunks = client.chat.completions.create(**ask, stream=True)
        said["openai, sync stream"] = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    address = dict.fromkeys(("data", "train", "eval", "serve"), serving.process.address)
    with Client(Connection(services=address, http={}, token=serving.token)) as sdk:
        said["our SDK"] = sdk.serve.generate(target=ENDPOINT, prompt=_prompt(), sampling=SETTINGS).text
    return said


def _prompt(**more):
    return {"messages": [{"role": "user", "content": QUESTION}]} | more


async def test_langchain_calls_tools_and_keeps_schemas(chat_model):
    class Weather(pydantic.BaseModel):
        """Tells the weather."""

        sky: list[bool] = pydantic.Field(max_length=2)

    bound = chat_model.bind_tools([Weather], tool_choice="Weather").bind(max_tokens=100)
    message = await bound.ainvoke(QUESTION)
    (call,) = message.tool_calls
    assert call["name"] == "Weather"
    Weather.model_validate(call["args"])
    history = [
        langchain_messages.HumanMessage(QUESTION),
        message,
        langchain_messages.ToolMessage("rain", tool_call_id=call["id"]),
    ]
    assert (await chat_model.ainvoke(history)).usage_metadata["input_tokens"] > 30
    structured = chat_model.bind(max_tokens=100).bound.with_structured_output(Weather, method="json_schema")
    assert isinstance(await structured.ainvoke(QUESTION), Weather)


@pytest.fixture(scope="session")
def node_modules():
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, so there is no Node client to try")
    return ROOT / "build" / "node"


@pytest.mark.slow
async def test_node_hears_the_same_text_and_the_same_call(serving, node_modules):
    await _install(node_modules)
    schema = {"properties": {"sky": {"enum": ["blue", "grey"]}}, "required": ["sky"], "additionalProperties": False}
    tools = [{"name": "weather", "parameters_json": json.dumps(schema)}]
    forced = _prompt(tools=tools, tool_choice=3, single_tool_call=True)
    for prompt, choice in ((_prompt(), None), (forced, "TOOL_CHOICE_REQUIRED")):
        settings = SETTINGS | {"max_tokens": 200}
        expected = await answer(serving, prompt=prompt, sampling=settings)
        ask = {"target": ENDPOINT, "prompt": prompt | ({"tool_choice": choice} if choice else {}), "sampling": settings}
        program = await asyncio.create_subprocess_exec(
            "node",
            "-e",
            NODE_PROGRAM,
            serving.process.address,
            serving.token,
            str(ROOT / "protos"),
            json.dumps(ask),
            cwd=node_modules,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(program.communicate(), 60)
        heard = json.loads(out)
        assert heard["whole"]["text"] == heard["text"] == expected.text
        assert heard["code"] == 5  # NOT_FOUND
        assert "".join(call["arguments"] for call in heard["calls"]) == "".join(
            call.arguments for call in expected.tool_calls
        )
        assert heard["finish"] == ("FINISH_REASON_TOOL_CALLS" if choice else heard["whole"]["finish_reason"])


async def _install(folder):
    """Fetch the packages once; later runs find them."""
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == repr(PACKAGES):
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text("{}")
    arguments = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", *PACKAGES)
    install = await asyncio.create_subprocess_exec(*arguments, cwd=folder)
    assert await asyncio.wait_for(install.wait(), 240) == 0, "npm could not install the Node client"
    stamp.write_text(repr(PACKAGES))
