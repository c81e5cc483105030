"""Training of byte-level BPE: ours against Hugging Face's tokenizers and rustbpe, on installed documentation.

Speed is cost in CPU seconds of a process of its own, alternating, reading the texts included, imports and compilation
left out. Memory is the peak of that process. Every trainer cuts text as GPT-2 does, digits apart, and makes 32,768
tokens.
"""

from __future__ import annotations

import gzip
import json
import random
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (Path("/usr/share/doc"), Path("/usr/share/debian-policy"), Path(sys.prefix) / "lib")
ENDINGS = {".md", ".rst", ".txt", ".html", ".gz", ".po", ""}
CORPUS_BYTES, FRESH_BYTES = 50_000_000, 5_000_000
VOCABULARY = 32_768
ADDED = 2_000
ROUNDS = 3
BASE_MODEL = "smollm2-135m-instruct"
# Each program reads texts as JSON lines from argv[1] and writes merges as pairs of letters to argv[2].
OURS = """
from data_svc.worker.train_tokenizer import train
train(["warm up"], 300, [])
before = usage()
text = train(texts(), VOCABULARY, ["<|endoftext|>"])
merges = json.loads(text)["model"]["merges"]
"""
EXTEND = """
from pathlib import Path
from data_svc.worker.tokenizer_file import read_base
from data_svc.worker.train_tokenizer import extend
extend(["warm up"], read_base(Path(sys.argv[3])), 1)
before = usage()
merges = json.loads(extend(texts(), read_base(Path(sys.argv[3])), ADDED).text)["model"]["merges"]
"""
HUGGING_FACE = """
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
made = Tokenizer(models.BPE())
made.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
alphabet = pre_tokenizers.ByteLevel.alphabet()
before = usage()
made.train_from_iterator(texts(), trainers.BpeTrainer(
    vocab_size=VOCABULARY, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, min_frequency=2,
    show_progress=False))
merges = [pair if isinstance(pair, list) else pair.split(" ") for pair in json.loads(made.to_str())["model"]["merges"]]
"""
RUSTBPE = r"""
import rustbpe
before = usage()
made = rustbpe.Tokenizer()
pattern = r"'s|'t|'re|'ve|'m|'ll|'d|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
made.train_from_iterator(texts(), VOCABULARY - 1, pattern=pattern)
merges = len(made.get_mergeable_ranks()) - 256
"""
FRAME = """
import json, resource, sys
sys.path[:0] = PATHS
VOCABULARY, ADDED = {vocabulary}, {added}
def texts():
    with open(sys.argv[1], "rb") as lines:
        for line in lines:
            yield json.loads(line)["text"]
def usage():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
{program}
seconds = usage() - before
with open("/proc/self/status") as status:  # the peak of getrusage is that of the parent too
    peak_mb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1000
with open(sys.argv[2], "w") as file:
    json.dump({{"merges": merges, "seconds": seconds, "peak_mb": peak_mb}}, file)
"""


def main() -> None:
    """Measure, print the table, write `build/bench/tokenizer_training.json`."""
    scratch = ROOT / "build" / "bench"
    scratch.mkdir(parents=True, exist_ok=True)
    texts = list(corpus())
    total = sum(map(len, texts))
    if total < CORPUS_BYTES:
        print(f"only {total / 1e6:.0f} MB; for more: apt-get install linux-doc-6.1 debian-handbook python3.11-doc")
    fresh = texts[-max(1, len(texts) * FRESH_BYTES // total) :]
    texts = texts[: -len(fresh)]
    size_mb = sum(map(len, texts)) / 1e6
    source = scratch / "tokenizer_texts.jsonl"
    source.write_text("".join(json.dumps({"text": text.decode()}, ensure_ascii=False) + "\n" for text in texts))
    python = peer()
    programs = {
        "ours": (Path(sys.executable), OURS),
        "tokenizers": (Path(sys.executable), HUGGING_FACE),
        "rustbpe": (python, RUSTBPE),
    }
    measure(*programs["ours"], source)  # compiles what is not cached
    found: dict[str, list[dict]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, (interpreter, program) in programs.items():
            found[name].append(measure(interpreter, program, source))
    speed = {name: size_mb / statistics.median(one["seconds"] for one in runs) for name, runs in found.items()}
    memory = {name: statistics.median(one["peak_mb"] for one in runs) for name, runs in found.items()}
    names = {
        "tokenizers": f"tokenizers {version(Path(sys.executable), 'tokenizers')}",
        "rustbpe": f"rustbpe {version(python, 'rustbpe')}",
    }
    rows = []
    for name, goal in (("tokenizers", 2.7), ("rustbpe", None)):
        metric = f"MB per CPU second, {size_mb:.0f} MB, {VOCABULARY} tokens, peer {names[name]}"
        rows.append(row(metric, speed["ours"], speed[name], goal))
        rows.append(row(f"peak memory in MB, peer {names[name]}", memory["ours"], memory[name], None))
    ours, theirs = ([tuple(pair) for pair in found[name][0]["merges"]] for name in ("ours", "tokenizers"))
    same = sum(a == b for a, b in zip(ours, theirs, strict=False))
    rows.append(row(f"merges equal to those of {names['tokenizers']}, in order", same, len(theirs), 1.0))
    rows += extension(source, size_mb, fresh)
    report("tokenizer_training", rows)


def extension(source: Path, size_mb: float, fresh: list[bytes]) -> list[dict[str, object]]:
    """Return rows for the extension of the base model's tokenizer, measured on fresh text."""
    sys.path[:0] = [str(ROOT / "libs"), str(ROOT / "services")]
    from data_svc.worker.tokenizer_file import read_base
    from data_svc.worker.train_tokenizer import extend
    from tokenizers import Tokenizer
    from train_svc.worker.gguf_folder import expand_gguf
    from train_svc.worker.models import catalogue_file

    folder = ROOT / "build" / "bench" / "base-tokenizer"
    if not (folder / "tokenizer.json").exists():
        expand_gguf(catalogue_file(BASE_MODEL)[0], folder)
    base = folder / "tokenizer.json"
    runs = [measure(Path(sys.executable), EXTEND, source, base) for _ in range(ROUNDS)]
    lines = source.read_text().splitlines()
    made = Tokenizer.from_str(extend((json.loads(line)["text"] for line in lines), read_base(base), ADDED).text)
    old = Tokenizer.from_file(str(base))
    counts = [sum(len(one.encode(text.decode()).ids) for text in fresh) for one in (made, old)]
    size = sum(map(len, fresh))
    seconds = statistics.median(one["seconds"] for one in runs)
    return [
        row(f"MB per CPU second, {BASE_MODEL} extended by {ADDED}", size_mb / seconds, None, None),
        row(
            f"bytes per token on fresh text, extended by {ADDED}; peer: the base",
            size / counts[0],
            size / counts[1],
            None,
        ),
    ]


def corpus() -> Iterator[bytes]:
    """Yield UTF-8 documents of the installed documentation, each once, in a seeded order."""
    wanted = CORPUS_BYTES + FRESH_BYTES
    seen: set[bytes] = set()
    files = sorted(file for folder in FOLDERS if folder.exists() for file in folder.rglob("*"))
    random.Random(1).shuffle(files)
    for file in files:
        if file.suffix not in ENDINGS or file.is_symlink() or not file.is_file() or file.stat().st_size > 2_000_000:
            continue
        try:
            data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            data.decode()
        except (OSError, EOFError, ValueError):
            continue
        if 500 <= len(data) <= 2_000_000 and b"\0" not in data and data[:4000] not in seen:
            seen.add(data[:4000])
            yield data
            wanted -= len(data)
            if wanted <= 0:
                return


def measure(python: Path, program: str, source: Path, *more: Path) -> dict:
    """Run one trainer in a process of its own and return its merges, CPU seconds and peak memory."""
    paths = [str(ROOT / "libs"), str(ROOT / "services")]
    frame = FRAME.format(vocabulary=VOCABULARY, added=ADDED, program=program).replace("PATHS", repr(paths))
    out = source.with_name("tokenizer_out.json")
    subprocess.run([python, "-W", "ignore", "-c", frame, source, out, *more], check=True)
    return json.loads(out.read_text())


def peer() -> Path:
    """Return the Python of the peer's own environment, made when missing."""
    folder = ROOT / "build" / "peers" / "rustbpe"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "rustbpe==0.1.0"], check=True)
        (folder / ".ready").touch()
    return python


def version(python: Path, package: str) -> str:
    code = f"import importlib.metadata as m; print(m.version('{package}'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def row(metric: str, ours: float, other: float | None, goal: float | None) -> dict[str, object]:
    ratio = round(ours / other, 3) if other else None
    peer_value = round(other, 3) if other is not None else None
    return {"metric": metric, "ours": round(ours, 3), "peer": peer_value, "ratio": ratio, "limit": None, "goal": goal}


def report(name: str, rows: list[dict[str, object]]) -> None:
    path = ROOT / "build" / "bench" / f"{name}.json"
    path.write_text(json.dumps(rows, indent=2))
    for shown in rows:
        ratio, goal = shown["ratio"] or "", f"  goal {shown['goal']}" if shown["goal"] else ""
        print(f"{shown['metric']:90} {shown['ours']!s:>10} {shown['peer'] or ''!s:>10} {ratio!s:>8}{goal}")


if __name__ == "__main__":
    main()
