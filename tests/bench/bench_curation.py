"""Quality measures and web rules over real documents, beside the filters of datatrove on a sample of the same.

Cost is in CPU seconds of one process. The peer runs in an environment of its own under `build/peers`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import html_to_markdown

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "services")]

from data_svc.domain.normal_form import normalise  # noqa: E402
from data_svc.domain.quality_rules import failures, first_failure  # noqa: E402
from data_svc.worker.quality import measure  # noqa: E402

PEER = "datatrove==0.10.1"
PEER_NEEDS = ("spacy", "nltk", "regex", "tldextract", "orjson")
PACKAGES = "debian-policy developers-reference python3.11-doc linux-doc-6.1 debian-handbook debian-faq"
PACKAGES += " installation-guide-amd64"
FOLDERS = [Path("/usr/share/doc") / name for name in PACKAGES.replace("python3.11-doc", "python3.11").split()]
BYTES_MIN, SAMPLE_BYTES, DOCUMENT_BYTES_MIN = 100_000_000, 4_000_000, 200
ROUNDS = 2
GATES = ("Gopher repetition", "Gopher quality", "C4", "FineWeb")


def main() -> None:
    """Measure, print the table, write `build/bench/curation.json`."""
    texts = corpus()
    size = sum(map(len, texts)) / 1e6
    every = max(1, round(size * 1e6 / SAMPLE_BYTES))
    sample = texts[::every]
    sample_size = sum(map(len, sample)) / 1e6
    python = peer_environment()
    measure(texts[0])
    full, ours, peer = [], [], []
    for _ in range(ROUNDS):
        full.append(size / run(texts)[0])
        seconds, verdicts = run(sample)
        ours.append(sample_size / seconds)
        found = run_peer(python, sample)
        peer.append(sample_size / found["seconds"])
    begin = time.process_time()
    for text in texts:
        text.decode()
    limit = size / (time.process_time() - begin)
    kept, peer_kept = [not v for v in verdicts], [not v for v in found["verdicts"]]
    equal = sum(a == b for a, b in zip(kept, peer_kept, strict=True)) / len(sample)
    both = sum(a and b for a, b in zip(kept, peer_kept, strict=True))
    either = sum(a or b for a, b in zip(kept, peer_kept, strict=True))
    mine, theirs = statistics.median(ours), statistics.median(peer)
    rate = statistics.median(full)
    what = "MB per CPU second, measures and web rules"
    rows = [
        row(f"{what}, {len(texts):,} documents, {size:.0f} MB; limit: UTF-8 decoding", rate, None, limit, 25),
        row(f"{what}, {len(sample):,} documents, {sample_size:.1f} MB, against {PEER}", mine, theirs, None, 40),
        row(f"share of equal keep and drop decisions with {PEER}, same sample", equal, 1.0, 1.0, 0.97),
        row(f"Jaccard overlap of the kept with {PEER}, same sample", both / max(either, 1), 1.0, 1.0, None),
        row("share of the sample kept", sum(kept) / len(kept), sum(peer_kept) / len(kept), None, None),
        *gate_rows(sample, found["gates"]),
    ]
    differences = Counter(
        (a.split(":")[0] or "kept", b or "kept")
        for a, b in zip(verdicts, found["verdicts"], strict=True)
        if bool(a) != bool(b)
    )
    report(rows, differences)


def gate_of(rule: str) -> int:
    """Return which of the peer's four filters applies a rule."""
    family, _, name = rule.partition("/")
    if family == "gopher":
        return 0 if name.startswith(("duplicate_", "top_")) else 1
    return 2 if family == "c4" else 3


def gate_rows(sample: list[bytes], verdicts: list[list[str]]) -> list[dict[str, object]]:
    """Compare filter by filter, for in a row a strict one hides the others; FineWeb where both pass C4."""
    pairs: list[list[tuple[bool, bool]]] = [[] for _ in GATES]
    for text, theirs in zip(sample, verdicts, strict=True):
        broken = {gate_of(failure.rule.name) for failure in failures(measure(text))}
        for gate in range(len(GATES)):
            if gate < 3 or not (2 in broken or theirs[2]):
                pairs[gate].append((gate in broken, bool(theirs[gate])))
    rows = []
    for name, decided in zip(GATES, pairs, strict=True):
        passed = sum(not theirs for _, theirs in decided) / max(len(decided), 1)
        equal = sum(mine == theirs for mine, theirs in decided) / max(len(decided), 1)
        what = f"share of equal decisions, {name} alone, {len(decided)} documents, {passed:.0%} pass the peer"
        rows.append(row(what, equal, 1.0, 1.0, 0.97))
    return rows


def row(metric: str, ours: float, peer: float | None, limit: float | None, goal: float | None) -> dict[str, object]:
    """Return a row; with a peer of another engine the goal is on the ratio, else on our own figure."""
    return {
        "metric": metric,
        "ours": round(ours, 3),
        "peer": peer and round(peer, 3),
        "ratio": peer and round(ours / peer, 3),
        "limit": limit and round(limit, 1),
        "goal": goal,
    }


def corpus() -> list[bytes]:
    """Return the texts of the documentation packages, each once, then of Python sources until there is enough."""
    missing = [str(folder) for folder in FOLDERS if not folder.exists()]
    if missing:
        sys.exit(f"missing {', '.join(missing)}; apt-get install --no-install-recommends {PACKAGES}")
    texts: dict[bytes, bytes] = {}
    size = 0
    for text in documents():
        key = hashlib.sha256(text).digest()
        if len(text) >= DOCUMENT_BYTES_MIN and key not in texts:
            texts[key] = text
            size += len(text)
    print(f"{len(texts):,} documents of {size / 1e6:.0f} MB from {PACKAGES}")
    for path in sorted(Path(sys.prefix).resolve().parent.joinpath(sys.prefix).rglob("*.py")):
        if size >= BYTES_MIN:
            break
        text = read(path)
        texts[hashlib.sha256(text).digest()] = text
        size += len(text)
    if size < BYTES_MIN:
        sys.exit(f"only {size / 1e6:.0f} MB of text found; {BYTES_MIN / 1e6:.0f} are needed")
    return list(texts.values())


def documents() -> Iterator[bytes]:
    for folder in FOLDERS:
        for path in sorted(folder.resolve().rglob("*")):
            if path.suffix in {".html", ".txt", ".gz"} and path.is_file():
                yield read(path)


def read(path: Path) -> bytes:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return b""
    if path.suffix == ".html":
        text = html_to_markdown.convert(text.replace("\0", "")).content or ""
    return normalise(text).encode()


def peer_environment() -> Path:
    """Return the peer's Python, in an environment that is made when it is missing."""
    folder = ROOT / "build" / "peers" / "datatrove"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", PEER, *PEER_NEEDS], check=True)
        (folder / ".ready").touch()
    return python


def run(texts: list[bytes]) -> tuple[float, list[str]]:
    begin = time.process_time()
    verdicts = [str(first_failure(measure(text)) or "") for text in texts]
    return time.process_time() - begin, verdicts


def run_peer(python: Path, texts: list[bytes]) -> dict:
    given, taken = ROOT / "build" / "peers" / "sample.jsonl", ROOT / "build" / "peers" / "verdicts.json"
    given.write_text("".join(json.dumps({"text": text.decode()}) + "\n" for text in texts))
    subprocess.run([str(python), str(Path(__file__).with_name("peer_curation.py")), str(given), str(taken)], check=True)
    return json.loads(taken.read_text())


def report(rows: list[dict[str, object]], differences: Counter[tuple[str, str]]) -> None:
    path = ROOT / "build" / "bench" / "curation.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for shown in rows:
        figures = "  ".join(f"{key} {shown[key]}" for key in ("ours", "peer", "ratio", "limit", "goal"))
        print(f"{shown['metric']}\n    {figures}")
    for (mine, theirs), count in differences.most_common(12):
        print(f"    decided otherwise: {count:4} times ours {mine}, theirs {theirs}")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
