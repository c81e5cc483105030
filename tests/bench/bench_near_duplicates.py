"""Near duplicates: ours against datasketch and rensa, on real manuals with planted copies.

Truth is the exact Jaccard similarity of sets of runs of five words, found by prefix filtering (Chaudhuri, Ganti and
Kaushik 2006, "A primitive operator for similarity joins"), which misses no pair. A pair is found if not both survive;
the precision is over each dropped document and the survivor of its group, the longest. Cost is CPU seconds of the
process, without reading the input from disk for the peers, and with it for ours.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from data_svc.domain.formats import Format  # noqa: E402
from data_svc.domain.recipes import Recipe  # noqa: E402
from data_svc.worker.batches import batches, write_table  # noqa: E402
from data_svc.worker.documents import Documents, hexadecimal  # noqa: E402
from data_svc.worker.duplicates import drop_near  # noqa: E402
from data_svc.worker.operators import annotate, minhash_signature, operators_of  # noqa: E402
from data_svc.worker.parsers import parse  # noqa: E402
from data_svc.worker.rejections import Rejections  # noqa: E402
from data_svc.worker.sandbox import ParsedDocument  # noqa: E402

ROUNDS = 3
BASE_BYTES = 60_000_000
BASE_BYTES_MIN = 50_000_000
CHARACTERS_MIN, CHARACTERS_MAX = 1_500, 60_000
PLANT_EVERY = 3
KINDS = ("edit 2 %", "edit 5 %", "header added", "last 20 % cut", "paragraphs shuffled", "case and blanks")
HEADER = (
    "CONFIDENTIAL. Internal use only. Document control: revision 7, owner: knowledge base team, next review in May.\n\n"
)
PACKAGES = "linux-doc-6.1 python3.11-doc debian-policy debian-handbook developers-reference"
SOURCES = ("linux-doc-6.1", "python3.11", "debian-policy", "debian-handbook", "developers-reference")
PEERS = {"datasketch": "datasketch==2.0.0", "rensa": "rensa==0.5.0"}
TRUE, HALF = 0.8, 0.5


def main() -> None:
    """Measure, print the table, write `build/bench/near_duplicates.json`."""
    base = real_texts()
    real = sum(len(text.encode()) for text in base)
    if real < BASE_BYTES_MIN:
        sys.exit(f"only {real / 1e6:.0f} MB of text under /usr/share/doc; apt-get install {PACKAGES}")
    texts, kinds = planted(base)
    size = sum(len(text.encode()) for text in texts)
    sets = [shingle_set(words) for words in word_numbers(texts)]
    truth = similar_pairs(sets)
    print(f"{len(texts)} documents, {size / 1e6:.1f} MB, of which {real / 1e6:.1f} real")
    print(f"{len(truth)} pairs of similarity {TRUE} and more")
    threshold = Recipe().near_duplicate_threshold  # the default, not the one that suits the measurement
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.jsonl"
        path.write_text("\n".join(json.dumps(text) for text in texts))
        ours([*texts[:100], *(text + HEADER for text in texts[:100])], Path(folder), threshold)  # compiles
        seconds: dict[str, list[float]] = {name: [] for name in ("ours", *PEERS)}
        groups: dict[str, list[int]] = {}
        for _ in range(ROUNDS):
            for name, costs in seconds.items():
                cost, groups[name] = ours(texts, Path(folder), threshold) if name == "ours" else peer(name, path)
                costs.append(cost)
    rates = {name: size / 1e6 / statistics.median(costs) for name, costs in seconds.items()}
    stand_ins = {name: longest(group, texts) for name, group in groups.items()}
    found = {name: judge(chosen, sets, truth) for name, chosen in stand_ins.items()}
    rows = []
    for name, requirement in PEERS.items():
        pairs = ((rates["ours"], rates[name], 50), *zip(found["ours"], found[name], (0.99, 0.98), strict=True))
        for metric, (mine, other, goal) in zip(
            ("MB per CPU second", f"recall, similarity {TRUE} and more", f"precision, similarity {HALF} and more"),
            pairs,
            strict=True,
        ):
            rows.append(row(f"near duplicates, {metric}, against {requirement}", mine, other, goal))
    for kind in KINDS:
        shares = {name: planted_found(stand_ins[name], kinds, kind) for name in stand_ins}
        rows += [
            row(f"near duplicates, copies found, {kind}, against {PEERS[name]}", shares["ours"], shares[name], None)
            for name in PEERS
        ]
    report(rows)


def real_texts() -> list[str]:
    """Return distinct texts of manuals as curation reads them, in an order that depends on their content alone."""
    found = {}
    for root in sorted(path for source in SOURCES for path in Path("/usr/share/doc").glob(f"{source}*")):
        for path in root.rglob("*"):
            if path.is_symlink() or not path.is_file() or "_sources" in path.parts:
                continue
            if path.name.endswith((".html", ".txt", ".rst.gz", ".txt.gz")):
                if path.suffix == ".html":
                    text = "".join(part.text for part in parse(path, Format.HTML, rows=False))
                else:
                    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
                    text = data.decode("utf-8", "replace")
                text = re.sub(r"[ \t]*\n(\s*\n)+", "\n\n", text).strip()
                if CHARACTERS_MIN <= len(text) <= CHARACTERS_MAX:
                    found[hashlib.sha256(text.encode()).digest()] = text
    chosen, size = [], 0
    for _, text in sorted(found.items()):
        chosen.append(text)
        size += len(text.encode())
        if size >= BASE_BYTES:
            break
    return chosen


def planted(base: list[str]) -> tuple[list[str], list[tuple[str, int] | None]]:
    """Return the texts with a changed copy after every third, and per text what was done to which one."""
    chance = random.Random(7)
    vocabulary = sorted({word for text in base[:300] for word in text.split()})
    texts: list[str] = list(base)
    kinds: list[tuple[str, int] | None] = [None] * len(base)
    for copy, number in enumerate(range(0, len(base), PLANT_EVERY)):
        kind = KINDS[copy % len(KINDS)]
        texts.append(changed(base[number], kind, chance, vocabulary))
        kinds.append((kind, number))
    return texts, kinds


def changed(text: str, kind: str, chance: random.Random, vocabulary: list[str]) -> str:
    """Return a copy of the text with one kind of change."""
    if kind.startswith("edit"):
        parts = re.split(r"(\s+)", text)
        places = range(0, len(parts), 2)
        for place in chance.sample(places, max(1, len(places) * int(kind.split()[1]) // 100)):
            parts[place] = chance.choice(vocabulary)
        return "".join(parts)
    if kind == "header added":
        return HEADER + text
    if kind == "last 20 % cut":
        return text[: len(text) * 4 // 5]
    if kind == "paragraphs shuffled":
        paragraphs = text.split("\n\n")
        chance.shuffle(paragraphs)
        return "\n\n".join(paragraphs)
    return re.sub(r"\s+", lambda blank: "\n" if "\n" in blank[0] else "  ", text).upper()


def word_numbers(texts: list[str]) -> Iterator[np.ndarray]:
    """Yield each text's words, without case, as numbers."""
    numbers: dict[str, int] = {}
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        yield np.array([numbers.setdefault(word, len(numbers) + 1) for word in words], np.uint64)


def shingle_set(words: np.ndarray) -> np.ndarray:
    """Return the sorted set of 64-bit hashes of runs of five words."""
    count = max(len(words) - 4, 1)
    words = np.r_[words, np.zeros(5, np.uint64)]
    value = np.zeros(count, np.uint64)
    for place in range(5):
        value = (value ^ words[place : place + count]) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
    return np.unique(value)


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Jaccard similarity of two sorted sets."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)


def similar_pairs(sets: list[np.ndarray]) -> list[tuple[int, int]]:
    """Return all pairs of similarity TRUE and more: such pairs share one of their rarest shingles."""
    values, counts = np.unique(np.concatenate(sets), return_counts=True)
    holders: dict[int, list[int]] = {}
    for number, shingles in enumerate(sets):
        rarity = counts[np.searchsorted(values, shingles)]
        prefix = shingles[np.lexsort((shingles, rarity))][: len(shingles) - int(np.ceil(TRUE * len(shingles))) + 1]
        for value in prefix[np.sort(rarity)[: len(prefix)] > 1].tolist():
            holders.setdefault(value, []).append(number)
    asked = {
        pair
        for group in {tuple(group) for group in holders.values()}
        for pair in combinations(group, 2)
        if TRUE <= len(sets[pair[0]]) / len(sets[pair[1]]) <= 1 / TRUE
    }
    return [pair for pair in sorted(asked) if similarity(sets[pair[0]], sets[pair[1]]) >= TRUE]


def ours(texts: list[str], folder: Path, threshold: float) -> tuple[float, list[int]]:
    """Return CPU seconds and each text's group."""
    items = ((n, ParsedDocument(f"{n}", "text", text.encode(), len(text), 0)) for n, text in enumerate(texts))
    rest = [each for each in operators_of(Recipe()) if each is not minhash_signature.OPERATOR]
    delivered = [annotate(batch, rest) for batch in batches(items)]
    begin = time.process_time()
    signed = [annotate(batch, [minhash_signature.OPERATOR]) for batch in delivered]
    seconds = time.process_time() - begin
    write_table(folder / "texts.arrow", signed)
    documents, rejections = Documents.of([folder / "texts.arrow"], [np.arange(len(texts))]), Rejections()
    numbers = {id_: number for number, id_ in enumerate(hexadecimal(documents.ids))}
    begin = time.process_time()
    drop_near(documents, threshold, rejections, scratch=folder, tick=lambda *_: None)
    seconds += time.process_time() - begin
    groups = list(range(len(texts)))
    for rejection in rejections.ordered():
        groups[int(rejection.source)] = numbers[rejection.duplicate_of]
    return seconds, groups


def peer(name: str, path: Path) -> tuple[float, list[int]]:
    """Return CPU seconds and each text's group, as the peer finds them in an environment of its own."""
    home = ROOT / "build" / "peers" / "near_duplicates"
    if not (home / ".ready").exists():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([home / "bin/pip", "install", "-q", *PEERS.values()], check=True)
        (home / ".ready").touch()
    script = Path(__file__).with_name("peer_near_duplicates.py")
    answer = subprocess.run([home / "bin/python", script, name, path], check=True, capture_output=True, text=True)
    seconds, groups = json.loads(answer.stdout)
    return seconds, groups


def longest(groups: list[int], texts: list[str]) -> list[int]:
    """Return for each text the longest of its group: the one that survives."""
    best: dict[int, int] = {}
    for number, group in enumerate(groups):
        best[group] = max(best.get(group, number), number, key=lambda number: (len(texts[number]), -number))
    return [best[group] for group in groups]


def judge(stand_ins: list[int], sets: list[np.ndarray], truth: list[tuple[int, int]]) -> tuple[float, float]:
    """Return the share of true pairs of which not both survive, and of dropped documents that are like the survivor."""
    right = [similarity(sets[a], sets[b]) >= HALF for a, b in enumerate(stand_ins) if a != b]
    return statistics.fmean(stand_ins[a] != a or stand_ins[b] != b for a, b in truth), statistics.fmean(right)


def planted_found(stand_ins: list[int], kinds: list[tuple[str, int] | None], wanted: str) -> float:
    """Return the share of copies of one kind of which not both the copy and the original survive."""
    return statistics.fmean(
        stand_ins[number] != number or stand_ins[kind[1]] != kind[1]
        for number, kind in enumerate(kinds)
        if kind and kind[0] == wanted
    )


def row(metric: str, mine: float, other: float, goal: float | None) -> dict[str, object]:
    """Return one row of the table."""
    ratio = round(mine / other, 3) if other else None
    return {
        "metric": metric,
        "ours": round(mine, 4),
        "peer": round(other, 4),
        "ratio": ratio,
        "limit": None,
        "goal": goal,
    }


def report(rows: list[dict[str, object]]) -> None:
    """Print the rows and write them."""
    path = ROOT / "build" / "bench" / "near_duplicates.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for entry in rows:
        figures = "  ".join(f"{key} {entry[key]}" for key in ("ours", "peer", "ratio", "goal"))
        print(f"{entry['metric']:84} {figures}")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
