"""Serving SmolLM2-135M: our engine beside transformers, OpenVINO GenAI and llama.cpp, and what the service adds to it.

Every engine is a process of its own with one thread; they take turns over the same chat prompts, greedy, answers of
8 to 48 tokens. Cost is CPU seconds of the process. Each round brings new prompts, so that no engine's prefix cache
helps it unless a row is about that. Transformers runs padded batches of 8 as long as their longest answer: part of
its row is continuous batching, not kernels. Only ratios say something; a busy machine lowers all figures.
The service rows run the real service over gRPC with its client in one process, the engine in another.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import openvino as ov
import psutil
import safetensors
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bessemer.modeling.openvino_graph import build_graph  # noqa: E402
from bessemer.modeling.tokenizer import Tokenizer  # noqa: E402
from serve_svc.adapters.engine_process import EngineProcesses  # noqa: E402
from serve_svc.config import EngineConfig  # noqa: E402
from serve_svc.engine.protocol import Piece, Prompt, Sampling, Turn  # noqa: E402
from train_svc.worker.gguf_folder import expand_gguf  # noqa: E402
from train_svc.worker.models import catalogue_file, normalise  # noqa: E402

WORKERS_LOG = ROOT / "build" / "bench" / "serving.workers.log"
ROUNDS = 2
REQUESTS, TOGETHER = 16, 8
DECODED, LONG = 48, 512
ADAPTERS, RANK = 100, 8
ENGINES = ("ours fp32", "ours fp32, 100 adapters", "genai fp32", "transformers fp32", "ours int8", "llama.cpp q8_0")
ASKED = (
    "Explain how photosynthesis works.",
    "Write a short story about a robot who learns to paint.",
    "List five healthy breakfast ideas.",
    "What is the difference between TCP and UDP?",
    "Summarise the causes of the First World War.",
    "Give me a Python function that reverses a list.",
    "How do vaccines train the immune system?",
    "Write a polite email asking for a deadline extension.",
)
CONTEXT = (
    "The water cycle moves water between the ocean, the air and the land. Heat from the sun turns liquid water into "
    "vapour, which rises, cools and forms clouds. Rain and snow return it to the ground, where rivers carry it back. "
)


def main() -> None:
    """Measure, print the table, write `build/bench/serving.json`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = prepare(folder)
        tokenizer = Tokenizer.from_folder(Path(given["model"]))
        rows = engine_rows(folder, given, tokenizer) if "service" not in sys.argv[1:] else []
        rows += asyncio.run(service_rows(folder, Path(given["model"])))
    report(rows)


def prepare(folder: Path) -> dict[str, str]:
    """Write the model in the form of every engine."""
    source = catalogue_file("smollm2-135m-instruct")[0]
    model = normalise(expand_gguf(source, folder / "raw"), folder / "model")
    exported = folder / "exported"
    ov.save_model(build_graph(model), exported / "openvino_model.xml", compress_to_fp16=False)
    tokenizers_of_genai(model, exported)
    write_q8_0(source, model, folder / "q8_0.gguf")
    for number in range(ADAPTERS):
        write_adapter(model, folder / "adapters" / str(number), number)
    given = {"model": str(model), "exported": str(exported), "gguf": str(folder / "q8_0.gguf")}
    given["adapters"] = str(folder / "adapters")
    (folder / "given.json").write_text(json.dumps(given))
    return given


def tokenizers_of_genai(model: Path, exported: Path) -> None:
    """Write the tokenizer that GenAI insists on, although it gets ids."""
    import openvino_tokenizers
    import transformers

    pair = openvino_tokenizers.convert_tokenizer(
        transformers.AutoTokenizer.from_pretrained(model), with_detokenizer=True
    )
    for graph, name in zip(pair, ("openvino_tokenizer", "openvino_detokenizer"), strict=True):
        ov.save_model(graph, exported / f"{name}.xml")


def write_adapter(model: Path, folder: Path, seed: int) -> None:
    """Write a random adapter of queries, values and outputs in PEFT format."""
    chance = np.random.default_rng(seed)
    tensors = {}
    with safetensors.safe_open(model / "model.safetensors", framework="np") as reader:
        for name in reader.keys():  # noqa: SIM118 - not a mapping
            if name.endswith(("q_proj.weight", "v_proj.weight", "o_proj.weight")):
                out, width = reader.get_slice(name).get_shape()
                stem = f"base_model.model.{name.removesuffix('.weight')}"
                tensors[f"{stem}.lora_A.weight"] = chance.normal(0, 0.03, (RANK, width)).astype(np.float32)
                tensors[f"{stem}.lora_B.weight"] = chance.normal(0, 0.03, (out, RANK)).astype(np.float32)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 16, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def write_q8_0(source: Path, model: Path, target: Path) -> None:
    """Write the same weights as llama.cpp's 8-bit format; vectors stay in fp32."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if values.ndim == 1:
            writer.add_tensor(tensor.name, values)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Worker:
    """An engine in its process."""

    def __init__(self, name: str, folder: Path) -> None:
        script = Path(__file__).with_name("peer_serving.py")
        with WORKERS_LOG.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(script), name, str(folder / "given.json")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, text=True,
                env={**os.environ, "PYTHONPATH": f"{ROOT}/libs:{ROOT}/services"},
            )  # fmt: skip
        self.pid = self._process.pid

    def ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", f"an engine did not start; see {WORKERS_LOG}"

    def run(self, prompts: Sequence[Sequence[int]], lengths: Sequence[int], together: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"prompts": prompts, "lengths": lengths, "together": together}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        reply: dict[str, Any] = json.loads(self._process.stdout.readline())
        return reply

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()


def chat(tokenizer: Tokenizer, turn: int) -> tuple[list[list[int]], list[int]]:
    """Return the prompts of a round and how long their answers get."""
    chance = random.Random(turn)
    prompts = []
    for index in range(REQUESTS):
        context = CONTEXT * chance.choice([0, 0, 1, 2, 4, 5])
        system = {"role": "system", "content": f"Conversation {turn}-{index}. You are a helpful assistant."}
        prompts.append(tokenizer.render_chat([system, {"role": "user", "content": context + ASKED[index % 8]}]))
    return prompts, [chance.choice([8, 16, 24, 32, 48]) for _ in prompts]


def engine_rows(folder: Path, given: dict[str, str], tokenizer: Tokenizer) -> list[dict[str, object]]:
    """Return what the engines cost by themselves."""
    seen: dict[tuple[str, str], list[float]] = {}
    exact: list[float] = []
    with ExitStack() as stack:
        workers = {name: Worker(name, folder) for name in ENGINES}
        for worker in workers.values():
            stack.callback(worker.close)
        for worker in workers.values():
            worker.ready()
        for turn in range(ROUNDS):
            prompts, lengths = chat(tokenizer, turn)
            long = [tokenizer.encode(f"Text {turn}. " + CONTEXT * 20)[:LONG]]
            said = {}
            for name, worker in workers.items():
                found = worker.run(prompts, lengths, TOGETHER)
                said[name] = found["tokens"]
                first = worker.run(long, [1], 1)["cpu_s"]
                rest = worker.run([prompts[0]], [DECODED + 1], 1)["cpu_s"] - worker.run([prompts[0]], [1], 1)["cpu_s"]
                again = worker.run(long, [1], 1)["cpu_s"]
                batch = sum(lengths) / found["cpu_s"]
                for key, value in (("c8", batch), ("first", first), ("rest", DECODED / rest), ("again", again / first)):
                    seen.setdefault((name, key), []).append(value)
            exact.append(same(said["ours fp32"], said["transformers fp32"], tokenizer.eos_ids))
    print("load of the machine: {:.1f} {:.1f} {:.1f}".format(*os.getloadavg()))
    print("all rounds: " + json.dumps({" ".join(key): [round(v, 3) for v in values] for key, values in seen.items()}))
    found = {key: statistics.median(values) for key, values in seen.items()}
    return table(found, min(exact))


def same(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]], eos_ids: frozenset[int]) -> float:
    """Return the share of answers with the same tokens up to the first that ends one."""

    def cut(ids: Sequence[int]) -> list[int]:
        end = next((i for i, token in enumerate(ids) if token in eos_ids), len(ids))
        return list(ids[:end])

    return sum(cut(a) == cut(b) for a, b in zip(ours, theirs, strict=True)) / len(ours)


def table(found: dict[tuple[str, str], float], exact: float) -> list[dict[str, object]]:
    """Return the rows of the engines."""
    ours, adapted, int8, llama = "ours fp32", "ours fp32, 100 adapters", "ours int8", "llama.cpp q8_0"
    rate, first = "tokens per CPU second", f"CPU seconds to the first token after {LONG}"
    wanted = [
        (f"fp32, 8 at a time, {rate}", "c8", ours, "transformers fp32", 4.5),
        (f"fp32, one stream, {rate}", "rest", ours, "transformers fp32", None),
        (f"fp32, {first}", "first", ours, "transformers fp32", 0.7),
        (f"fp32, 8 at a time, {rate}", "c8", ours, "genai fp32", None),
        (f"fp32, one stream, {rate}", "rest", ours, "genai fp32", None),
        (f"fp32, {first}", "first", ours, "genai fp32", None),
        (f"8 bit, 8 at a time, {rate}", "c8", int8, llama, 3.3),
        (f"8 bit, one stream, {rate}", "rest", int8, llama, 1.0),
        (f"8 bit, {first}", "first", int8, llama, None),
        (f"fp32, {ADAPTERS} adapters of rank {RANK} in turn, 8 at a time, {rate}", "c8", adapted, ours, 0.7),
    ]
    rows = [row("fp32, answers with the tokens of transformers, share", exact, None, 1.0)]
    for what, key, us, peer, goal in wanted:
        rows.append(row(f"{what}, against {peer}", found[us, key], found[peer, key], goal))
    metric = f"fp32, a prompt of {LONG} tokens read before, against reading it"
    rows.append(row(metric, found[ours, "again"], 1.0, 0.06))
    return rows


async def service_rows(folder: Path, model: Path) -> list[dict[str, object]]:
    """Return what the service costs, and the memory that both take."""
    from tests.integration.test_serve_svc import world_in

    rows = []
    home = folder / "home"
    home.mkdir()
    async with world_in(home, model) as world:
        deployment = await world.ready()
        (pid,) = world.engines()
        rows.append(await whole_way(world, pid))
        rows += await messages(world, deployment.name)
    engines = EngineProcesses(EngineConfig(threads=1), folder / "logs")
    for precision, goal in (("int8", 650), ("fp32", None)):
        for attempt in ("first start", "later start"):
            engine = await engines.start("p/deployments/d", model, precision)
            prompt = Prompt((Turn("user", CONTEXT + ASKED[0]),))
            async for _ in engine.generate(prompt, Sampling(max_tokens=32, temperature=0)):
                pass
            used = psutil.Process(engine.pid).memory_info().rss / 1e6
            spent = sum(psutil.Process(engine.pid).cpu_times()[:2])
            await engine.close()
            if attempt == "later start":
                rows.append(row(f"{precision}, MB resident after an answer", used, None, goal))
            rows.append(row(f"{precision}, CPU seconds of a {attempt} with one answer", spent, None, None))
    rows.append(row("serve_svc without a model, MB resident", idle_mb(folder / "idle"), None, 120))
    return rows


async def whole_way(world: Any, pid: int) -> dict[str, object]:
    """Return the share of the engine's process in all CPU seconds of answering 16 streams."""
    from tests.integration.test_serve_svc import stream

    async def one(index: int) -> None:
        prompt = {"messages": [{"role": "user", "content": f"{index}. {ASKED[index % 8]}"}]}
        async for _ in stream(world, prompt=prompt, sampling={"max_tokens": 32, "temperature": 0}):
            pass

    await one(99)
    engine = psutil.Process(pid)
    own, theirs = time.process_time(), sum(engine.cpu_times()[:2])
    await asyncio.gather(*(one(index) for index in range(REQUESTS)))
    own, theirs = time.process_time() - own, sum(engine.cpu_times()[:2]) - theirs
    return row(
        "throughput over gRPC, client included, against the engine's process alone", theirs / (own + theirs), 1.0, 0.97
    )


async def messages(world: Any, name: str) -> list[dict[str, object]]:
    """Return the cost of a streamed token when messages carry one and when they carry eight, engine left out."""
    from tests.integration.test_serve_svc import stream

    class Fast:
        context_length, kind, precision, capacity = 8192, "none", "fp32", 0

        def __init__(self, size: int) -> None:
            self._size = size

        async def generate(self, *_asked: Any) -> Any:
            for number in range(512 // self._size):
                await asyncio.sleep(0)
                last = number == 512 // self._size - 1
                finish = {"finish": "length", "completion_tokens": 512} if last else {}
                yield Piece("1", "token " * self._size, (1234,) * self._size, **finish)

    async def all_of(size: int) -> float:
        world.fleet()._engines[name] = Fast(size)
        begin = time.process_time()
        calls = [stream(world) for _ in range(8)]
        for call in calls:
            async for _ in call:
                pass
        return (time.process_time() - begin) / (8 * 512) * 1e6

    engine = world.fleet()._engines[name]
    costs: dict[int, list[float]] = {1: [], 8: []}
    for _ in range(5):
        for size, values in costs.items():
            values.append(await all_of(size))
    world.fleet()._engines[name] = engine
    eight, one = statistics.median(costs[8]), statistics.median(costs[1])
    return [row("CPU microseconds per streamed token, eight a message against one a message", eight, one, 0.3)]


def idle_mb(home: Path) -> float:
    """Return the resident memory of a service that has no deployment."""
    from bessemer.svckit.auth import issue

    home.mkdir()
    folder = issue(home)
    environ = {
        "PATH": os.defpath, "PYTHONPATH": f"{ROOT}/libs:{ROOT}/services", "BESSEMER_HOME": str(home),
        "BESSEMER_DATABASE_URL": f"sqlite:///{home}/service.db", "BESSEMER_OBJECTS_URL": f"file://{home}/objects",
        "BESSEMER_JWKS_FILE": str(folder / "jwks.json"), "BESSEMER_TOKEN_FILE": str(folder / "serve.token"),
    }  # fmt: skip
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "bessemer.svckit", "serve"], env=environ, stderr=log)
    try:
        time.sleep(15)
        assert process.poll() is None, (home / "log").read_text()[-2000:]
        return psutil.Process(process.pid).memory_info().rss / 1e6
    finally:
        process.kill()
        process.wait()


def row(metric: str, ours: float, peer: float | None, goal: float | None) -> dict[str, object]:
    """Return one row of the table."""
    ratio = None if peer is None else round(ours / peer, 3)
    return {"metric": metric, "ours": round(ours, 3), "peer": peer and round(peer, 3), "ratio": ratio, "goal": goal}


def report(rows: list[dict[str, object]]) -> None:
    """Print the rows and write them."""
    path = ROOT / "build" / "bench" / "serving.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for entry in rows:
        print(f"{entry['metric']:95} " + "  ".join(f"{key} {entry[key]}" for key in ("ours", "peer", "ratio", "goal")))
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
