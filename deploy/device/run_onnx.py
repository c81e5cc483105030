"""Chat with an exported model on a device: no service, no network, four small packages.

    pip install onnxruntime tokenizers numpy jinja2
    tar -xf model.tar -C model && python run_onnx.py model

The folder is what `bessemer model export --format onnx` writes. Its files are checked against SHA256SUMS before the
model is loaded. Answers stream; what was said stays in the cache, so that a turn costs only its own tokens.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import numpy as np
import numpy.typing as npt
import onnxruntime
import tokenizers
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers.decoders import DecodeStream

CHUNK = 128  # prompt tokens computed at once, which bounds memory


class Chat:
    """A conversation with a model: its tokenizer, its template, its weights, and the cache of what was said."""

    def __init__(self, folder: Path, threads: int) -> None:
        config, settings, generation = (
            _json(folder / name) for name in ("config.json", "tokenizer_config.json", "generation_config.json")
        )
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        special = {key: _content(value) for key, value in settings.items() if key.endswith("_token") and value}
        self.template = _template(folder, settings).render
        self.special = special
        self.ends = _ids(generation.get("eos_token_id")) | _ids(config.get("eos_token_id"))
        if "eos_token" in special:
            self.ends |= {self.tokenizer.token_to_id(special["eos_token"])}
        self.context = int(config["max_position_embeddings"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options, ["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]
        shapes = {each.name: each.shape for each in self.session.get_inputs() if each.name.startswith("past_")}
        self.cache = {name: np.zeros((1, shape[1], 0, shape[3]), np.float32) for name, shape in shapes.items()}
        self.cached: list[int] = []

    def answer(
        self, messages: Sequence[dict[str, str]], *, new_tokens: int, temperature: float, seed: int = 0
    ) -> Iterator[str]:
        """Yield the answer to a conversation, piece by piece."""
        text = self.template(messages=list(messages), add_generation_prompt=True, **self.special)
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) >= self.context:
            sys.exit(f"the conversation has {len(ids)} tokens, the model's context {self.context}; start a new one")
        shared = next((i for i, (a, b) in enumerate(zip(ids, self.cached, strict=False)) if a != b), len(self.cached))
        shared = min(shared, len(ids) - 1)  # the last token's logits are needed
        self.cache = {name: value[:, :, :shared] for name, value in self.cache.items()}
        self.cached = self.cached[:shared]
        logits = np.empty(0, np.float32)
        for start in range(shared, len(ids), CHUNK):
            logits = self._step(ids[start : start + CHUNK])
        random, stream = np.random.default_rng(seed), DecodeStream(skip_special_tokens=True)
        for _ in range(min(new_tokens, self.context - len(ids))):
            token = _choose(logits, temperature, random)
            if token in self.ends:
                return
            piece = stream.step(self.tokenizer, token)
            if piece:
                yield piece
            logits = self._step([token])

    def _step(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        begin, end = len(self.cached), len(self.cached) + len(ids)
        feeds = {
            "input_ids": np.array([ids], np.int64),
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(begin, end, dtype=np.int64)[None],
            "num_logits_to_keep": np.array(1, np.int64),
            **self.cache,
        }
        values = dict(zip(self.outputs, self.session.run(self.outputs, feeds), strict=True))
        logits: npt.NDArray[np.float32] = values.pop("logits")[0, -1]
        self.cache = {name.replace("present.", "past_key_values."): value for name, value in values.items()}
        self.cached += ids
        return logits


def main() -> None:
    """Answer one prompt, or talk until the input ends."""
    parser = argparse.ArgumentParser(description="Chat with an exported model on this device.")
    parser.add_argument("folder", type=Path, help="unpacked export")
    parser.add_argument("--prompt", help="answer this and end")
    parser.add_argument("--system", default="", help="instruction before the conversation")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves it to the runtime")
    given = parser.parse_args()
    _verify(given.folder)
    chat = Chat(given.folder, given.threads)
    messages = [{"role": "system", "content": given.system}] if given.system else []
    for prompt in [given.prompt] if given.prompt else _typed():
        messages.append({"role": "user", "content": prompt})
        begin, pieces = time.perf_counter(), []
        for piece in chat.answer(messages, new_tokens=given.max_new_tokens, temperature=given.temperature):
            pieces.append(piece)
            sys.stdout.write(piece)
            sys.stdout.flush()
        messages.append({"role": "assistant", "content": "".join(pieces)})
        sys.stdout.write("\n")
        sys.stderr.write(f"[{len(pieces)} pieces in {time.perf_counter() - begin:.1f} s]\n")


def _typed() -> Iterator[str]:
    while True:
        sys.stderr.write("> ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _verify(folder: Path) -> None:
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                sys.exit(f"{name} is not the file that was exported; copy the export again")


def _template(folder: Path, settings: dict[str, Any]) -> jinja2.Template:
    file = folder / "chat_template.jinja"
    source = file.read_text(encoding="utf-8") if file.is_file() else settings.get("chat_template")
    if not isinstance(source, str):
        sys.exit("the model has no chat template; it continues texts and does not chat")
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    return environment.from_string(source)


def _choose(logits: npt.NDArray[np.float32], temperature: float, random: np.random.Generator) -> int:
    if temperature <= 0:
        return int(logits.argmax())
    weights = np.exp((logits - logits.max()) / temperature)
    return int(random.choice(len(weights), p=weights / weights.sum()))


def _json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return value


def _content(value: Any) -> str:
    return str(value["content"] if isinstance(value, dict) else value)


def _ids(value: Any) -> set[int]:
    return {value} if isinstance(value, int) else set(value or ())


if __name__ == "__main__":
    main()
