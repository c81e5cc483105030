"""One engine in a process of its own. Usage: peer_serving.py ENGINE GIVEN.json; then one JSON request a line.

A request is `{"prompts": [[id, ...], ...], "lengths": [n, ...], "together": n}`: continue each prompt greedily by so
many tokens, that many at a time. The reply holds the tokens and the CPU and wall seconds, all threads. Tokens that
end an answer are continued like any other.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}

Prompts = Sequence[Sequence[int]]


class Ours:
    """The engine as serve_svc runs it, without the process boundary and the text of the answers."""

    def __init__(self, given: dict[str, Any], precision: str, *, adapts: bool = False) -> None:
        from bessemer.kernel.clock import SystemClock
        from bessemer.modeling.numerics import prepare
        from bessemer.modeling.tokenizer import Tokenizer
        from serve_svc.engine.assemble import assemble
        from serve_svc.engine.loop import Loop
        from serve_svc.engine.protocol import Load

        fastest = prepare(1).name
        tokenizer = Tokenizer.from_folder(Path(given["model"]))
        load = Load(
            folder=given["model"],
            threads=1,
            num_slots=8,
            num_waiting_max=128,
            kv_bytes_max=3 << 30,
            prefill_tokens_max=256,
            num_sequences=32,
            precision=precision,
        )
        engine = assemble(load, tokenizer, fastest=fastest)
        assert (engine.choice.engine, engine.choice.precision) == ("openvino", precision), engine.choice
        self.slots = engine.slots
        self.sent: list[Any] = []
        self.loop = Loop(
            engine.decoder, engine.slots, tokenizer, eos_ids=frozenset(), send=self.sent.extend, clock=SystemClock()
        )
        self.adapters = [""]
        if adapts:
            self.load_adapters(sorted(Path(given["adapters"]).iterdir()))

    def load_adapters(self, folders: Sequence[Path]) -> None:
        from serve_svc.engine.protocol import AdapterChanged, LoadAdapter

        for folder in folders:
            self.loop.take(LoadAdapter("", folder.name, str(folder)))
        assert all(isinstance(message, AdapterChanged) for message in self.sent), self.sent
        self.sent.clear()
        self.adapters = [folder.name for folder in folders]

    def generate(self, prompts: Prompts, lengths: Sequence[int], together: int) -> list[list[int]]:
        from serve_svc.engine.loop import Arrival
        from serve_svc.engine.protocol import Sampling

        greedy = Sampling(temperature=0)
        todo = []
        for i, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
            # Seven steps on: neighbours in a batch have different adapters.
            adapter = self.adapters[7 * i % len(self.adapters)]
            todo.append(Arrival(str(i), prompt, greedy, length, adapter=adapter))
        answers: list[list[int]] = [[] for _ in prompts]
        num_live = 0
        while todo or self.slots.busy:
            while todo and num_live < together:
                self.loop.take(todo.pop(0))
                num_live += 1
            self.loop.step()
            for piece in self.sent:
                answers[int(piece.id)] += piece.token_ids
                num_live -= bool(piece.finish)
            self.sent.clear()
        return answers


class GenAI:
    """OpenVINO GenAI's own continuous batching over the graph that we export."""

    def __init__(self, given: dict[str, Any]) -> None:
        import openvino_genai as genai

        self.genai, self.number = genai, 0
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size, scheduler.max_num_batched_tokens, scheduler.max_num_seqs = 2, 256, 32
        scheduler.enable_prefix_caching = True
        hints = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
        self.pipeline = genai.ContinuousBatchingPipeline(given["exported"], scheduler, "CPU", hints)

    def generate(self, prompts: Prompts, lengths: Sequence[int], together: int) -> list[list[int]]:
        import numpy as np
        import openvino as ov

        todo, live, answers = list(range(len(prompts))), [], [[] for _ in prompts]
        while todo or live:
            while todo and len(live) < together:
                i = todo.pop(0)
                config = self.genai.GenerationConfig()
                config.max_new_tokens, config.do_sample, config.ignore_eos = lengths[i], False, True
                config.apply_chat_template = False
                self.number += 1
                ids = ov.Tensor(np.array([prompts[i]], np.int64))
                live.append((i, self.pipeline.add_request(self.number, ids, config)))
            self.pipeline.step()
            for i, handle in live:
                if handle.can_read():
                    answers[i] += [token for part in handle.read().values() for token in part.generated_ids]
            live = [(i, h) for i, h in live if h.get_status() == self.genai.GenerationStatus.RUNNING]
        return answers


class Transformers:
    """`generate` on batches padded to the left, each as long as its longest answer."""

    def __init__(self, given: dict[str, Any]) -> None:
        import torch
        import transformers

        torch.set_num_threads(1)
        self.torch = torch
        self.model = transformers.AutoModelForCausalLM.from_pretrained(given["model"], dtype=torch.float32).eval()
        self.model.generation_config.eos_token_id = None
        self.model.generation_config.pad_token_id = 2

    def generate(self, prompts: Prompts, lengths: Sequence[int], together: int) -> list[list[int]]:
        answers: list[list[int]] = []
        for start in range(0, len(prompts), together):
            batch, wanted = prompts[start : start + together], lengths[start : start + together]
            width = max(map(len, batch))
            ids = self.torch.full((len(batch), width), 2)
            mask = self.torch.zeros_like(ids)
            for row, prompt in enumerate(batch):
                ids[row, width - len(prompt) :] = self.torch.tensor(prompt)
                mask[row, width - len(prompt) :] = 1
            with self.torch.inference_mode():
                out = self.model.generate(ids, attention_mask=mask, max_new_tokens=max(wanted), do_sample=False)
            answers += [row[width : width + n].tolist() for row, n in zip(out, wanted, strict=True)]
        return answers


class LlamaCpp:
    """llama.cpp's server, in process."""

    def __init__(self, given: dict[str, Any]) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = given["gguf"]
        params.n_parallel, params.n_ctx, params.cache_ram_mib, params.warmup = 8, 8 * 640, 0, True
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.n_ubatch = 512
        self.server = xllamacpp.Server(params)

    def generate(self, prompts: Prompts, lengths: Sequence[int], together: int) -> list[list[int]]:
        with ThreadPoolExecutor(together) as pool:
            return list(pool.map(self._one, prompts, lengths))

    def _one(self, prompt: Sequence[int], length: int) -> list[int]:
        settings = {"temperature": 0, "top_k": 1, "samplers": ["top_k"], "cache_prompt": False, "ignore_eos": True}
        reply = self.server.handle_completions({"prompt": list(prompt), "max_tokens": length, **settings})
        assert reply["usage"]["completion_tokens"] == length
        return [-1] * length  # this door gives text only, and nobody compares 8-bit tokens


ENGINES = {
    "ours fp32": lambda given: Ours(given, "fp32"),
    "ours bf16": lambda given: Ours(given, "bf16"),
    "ours int8": lambda given: Ours(given, "int8"),
    "ours fp32, 100 adapters": lambda given: Ours(given, "fp32", adapts=True),
    "genai fp32": GenAI,
    "transformers fp32": Transformers,
    "llama.cpp q8_0": LlamaCpp,
}


def main() -> None:
    """Answer requests until the input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print what they like
    engine = ENGINES[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))
    engine.generate([[1, 2, 3]], [2], 1)
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        given = json.loads(line)
        cpu, wall = time.process_time(), time.perf_counter()
        tokens = engine.generate(given["prompts"], given["lengths"], given["together"])
        reply = {"tokens": tokens, "cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
        print(json.dumps(reply), file=out, flush=True)
    os._exit(0)  # some libraries wait for ever for threads of theirs


if __name__ == "__main__":
    main()
