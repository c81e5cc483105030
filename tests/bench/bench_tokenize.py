"""Encoding as a curation job does it, UTF-8 in and uint16 or uint32 ids out, beside tokenizers, tiktoken and fastokens.

Cost is in CPU seconds of one process. tiktoken runs in an environment of its own under `build/peers`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import fastokens
import numpy as np
from bench_curation import ROOT, corpus, row
from data_svc.worker.tokens import Encoder
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from train_svc.worker.gguf_folder import expand_gguf
from train_svc.worker.models import catalogue_file

PEER = "tiktoken==0.14.0"
FOLDER = ROOT / "build" / "peers"
BATCH_BYTES = 4 << 20  # as the job reads them
WARM_BYTES, SAMPLE_BYTES, TRAINING_BYTES = 20_000_000, 12_000_000, 20_000_000
ROUNDS = 3
# The expression of the vocabulary that is trained here, and one that cuts as SmolLM2's two steps do.
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
WORDS += r"|\s+(?!\S)|\s+"
SMOL_WORDS = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"


def main() -> None:
    """Measure, print the table, write `build/bench/tokenize.json`."""
    texts = corpus()
    rows = []
    for name, path, words in (
        ("32 k BPE trained here", trained(texts), WORDS),
        ("SmolLM2", smollm2(), SMOL_WORDS),
    ):
        rows += measure(name, path, words, texts)
    path = ROOT / "build" / "bench" / "tokenize.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for shown in rows:
        figures = "  ".join(f"{key} {shown[key]}" for key in ("ours", "peer", "ratio", "limit", "goal"))
        print(f"{shown['metric']}\n    {figures}")
    print(f"wrote {path.relative_to(ROOT)}")


def measure(name: str, path: Path, words: str, texts: list[bytes]) -> list[dict[str, object]]:
    """Return the rows of one tokenizer: fresh text once, then a sample in turns with the peers."""
    batches = list(batched(texts))
    warm = WARM_BYTES // BATCH_BYTES
    encoder, bare = Encoder(path), fastokens.Tokenizer.from_file(str(path))
    run(encoder, batches[:warm])
    encode_bare(bare, batches[:warm])
    size = sum(len(text) for batch in batches[warm:] for text in batch) / 1e6
    steady, alone = size / run(encoder, batches[warm:])[0], size / encode_bare(bare, batches[warm:])
    fresh = f"{size:.0f} MB of fresh text after {WARM_BYTES / 1e6:.0f} MB"
    every = max(1, sum(map(len, texts)) // SAMPLE_BYTES)
    sample = texts[::every]
    sample_size = sum(map(len, sample)) / 1e6
    oracle = Tokenizer.from_file(str(path))
    oracle.encode_special_tokens = True
    python = peer_environment()
    ours, huggingface, tiktoken = [], [], []
    for _ in range(ROUNDS):
        seconds, found = run(encoder, list(batched(sample)))
        ours.append(sample_size / seconds)
        begin = time.process_time()
        encodings = oracle.encode_batch([text.decode() for text in sample], add_special_tokens=False)
        huggingface.append(sample_size / (time.process_time() - begin))
        ids = [encoding.ids for encoding in encodings]
        seconds, theirs = run_peer(python, path, words, sample)
        tiktoken.append(sample_size / seconds)
    mine = statistics.median(ours)
    tail = () if encoder.eos is None else (encoder.eos[1],)
    equal = sum([*expected, *tail] == got.tolist() for expected, got in zip(ids, found, strict=True)) / len(sample)
    peer_equal = sum(np.array_equal(expected, got) for expected, got in zip(ids, theirs, strict=True)) / len(sample)
    what = f"MB per CPU second, {name}"
    against = f"{sample_size:.1f} MB already seen, against"
    rate = f"tokenizers {version('tokenizers')} encode_batch"
    return [
        row(f"{what}, {fresh}, against fastokens {version('fastokens')} with the file as it is, list of str given",
            steady, alone, None, 90 / alone),
        row(f"{what}, {against} {rate}", mine, statistics.median(huggingface), None, 37),
        row(f"{what}, {against} {PEER} encode_to_numpy", mine, statistics.median(tiktoken), None, 4),
        row(f"share of {len(sample):,} documents with the ids of tokenizers, {name}; peer: {PEER}", equal, peer_equal,
            1.0, 1.0),
    ]  # fmt: skip


def batched(texts: list[bytes]) -> list[list[bytes]]:
    batches: list[list[bytes]] = [[]]
    size = 0
    for text in texts:
        if size >= BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(text)
        size += len(text)
    return batches


def run(encoder: Encoder, batches: list[list[bytes]]) -> tuple[float, list[np.ndarray]]:
    """Return the CPU seconds and each document's ids; cutting the ids apart is not counted."""
    seconds, found = 0.0, []
    for batch in batches:
        begin = time.process_time()
        ids, offsets = encoder.encode_flat(batch)
        seconds += time.process_time() - begin
        found += [ids[first:last] for first, last in pairwise(offsets.tolist())]
    return seconds, found


def encode_bare(engine: fastokens.Tokenizer, batches: list[list[bytes]]) -> float:
    seconds = 0.0
    for batch in batches:
        texts = [text.decode() for text in batch]
        begin = time.process_time()
        engine.encode_batch_flat(texts, add_special_tokens=False, split_special_tokens=True)
        seconds += time.process_time() - begin
    return seconds


def trained(texts: list[bytes]) -> Path:
    """Return a byte-level BPE of 32,768 tokens made from every so-manieth document."""
    path = FOLDER / "bpe32k.json"
    if not path.exists():
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(WORDS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=32_767, initial_alphabet=alphabet, show_progress=False)
        every = max(1, sum(map(len, texts)) // TRAINING_BYTES)
        tokenizer.train_from_iterator((text.decode() for text in texts[1::every]), trainer)
        tokenizer.add_special_tokens(["<|endoftext|>"])
        FOLDER.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(path))
    return path


def smollm2() -> Path:
    path = FOLDER / "smollm2" / "tokenizer.json"
    if not path.exists():
        expand_gguf(catalogue_file("smollm2-135m-instruct")[0], path.parent)
    return path


def peer_environment() -> Path:
    """Return the peer's Python, in an environment that is made when it is missing."""
    folder = FOLDER / "tiktoken"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", PEER, "numpy"], check=True)
        (folder / ".ready").touch()
    return python


def run_peer(python: Path, tokenizer: Path, words: str, texts: list[bytes]) -> tuple[float, list[np.ndarray]]:
    """Return the peer's CPU seconds and its ids of each text."""
    given, taken = FOLDER / "texts.json", FOLDER / "ids.npz"
    given.write_text(json.dumps({"words": words, "tokenizer": str(tokenizer), "texts": [t.decode() for t in texts]}))
    script = Path(__file__).with_name("peer_tokenize.py")
    subprocess.run([str(python), str(script), str(given), str(taken)], check=True)
    with np.load(taken) as found:
        return float(found["seconds"]), np.split(found["ids"], found["offsets"][1:-1])


if __name__ == "__main__":
    main()
