"""Cases of evaluation suites in real documents: speed, recall of planted cases, false alarms, and datatrove beside it.

Cost is in CPU seconds of one process. The peer runs in an environment of its own under `build/peers`.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_curation import PEER, corpus, peer_environment
from bessemer.artifacts.contamination import pack_contamination_set, read_contamination_set
from data_svc.domain.contamination import RUN_WORDS_MIN, gives_away
from data_svc.worker.decontamination import ContaminationIndex
from eval_svc.domain.cases import passages

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
SHIPPED = ROOT / "services" / "eval_svc" / "worker" / "suites"
PLANTED, SAMPLE_BYTES, ROUNDS = 300, 3_000_000, 3
SUITE = "suite"
PEER_HASH = "xxhash<4"  # the peer gives it text, which later ones refuse

Words = list[str]
Case = tuple[str, str]


def drop(words: Words, rng: random.Random) -> Words:
    """Leave out 5 words in 100."""
    return [word for word in words if rng.random() >= 0.05]


def swap(words: Words, rng: random.Random) -> Words:
    """Put another word of the case in the place of 10 words in 100."""
    return [rng.choice(words) if rng.random() < 0.1 else word for word in words]


def half(words: Words, rng: random.Random) -> Words:
    """Keep one half."""
    start = rng.choice((0, len(words) // 2))
    return words[start : start + (len(words) + 1) // 2]


def other_numbers(words: Words, rng: random.Random) -> Words:
    """Change every number."""
    return [re.sub(r"\d+", lambda _: str(rng.randrange(2, 99)), word) for word in words]


# What is done to a planted case, the goal, and how.
CHANGES: dict[str, tuple[float | None, Callable[[str, random.Random], str]]] = {
    "verbatim": (1.0, lambda text, _: text),
    "in capitals": (1.0, lambda text, _: text.upper()),
    "without punctuation": (1.0, lambda text, _: re.sub(r"[^\w\s]", "", text)),
    "with blanks for punctuation": (1.0, lambda text, _: re.sub(r"[^\w\s]", " ", text)),
    "over lines with marks of Markdown": (
        1.0,
        lambda text, _: "\n> ".join(re.findall(r".{1,60}(?:\s|$)", f"**{text}**")),
    ),
    "5 % of the words dropped": (0.95, lambda text, rng: " ".join(drop(text.split(), rng))),
    "10 % of the words swapped": (None, lambda text, rng: " ".join(swap(text.split(), rng))),
    "other numbers": (None, lambda text, rng: " ".join(other_numbers(text.split(), rng))),
    "half of it": (None, lambda text, rng: " ".join(half(text.split(), rng))),
}


def main() -> None:
    """Measure, print the table, write `build/bench/decontamination.json`."""
    texts = corpus()
    suite, to_plant = cases()
    begin = time.process_time()
    index = ContaminationIndex({SUITE: read_contamination_set(pack_contamination_set(suite))})
    megabytes = sum(len(text) for _, text in suite) / 1e6
    print(f"{len(suite):,} cases of {megabytes:.1f} MB indexed in {time.process_time() - begin:.1f} CPU seconds")
    print(f"{len(to_plant):,} of them may be planted")
    python, name = peer_environment(), f"{PEER}, 13-grams"
    subprocess.run([python, "-m", "pip", "install", "-q", PEER_HASH], check=True)
    sample = random.Random(3).sample([text for text in texts if len(text) < 50_000], 1000)
    sample = sample[: int(np.searchsorted(np.cumsum([len(text) for text in sample]), SAMPLE_BYTES))]
    size, sample_size = (sum(map(len, part)) / 1e6 for part in (texts, sample))
    index.annotate(sample)
    full, ours, peer = [], [], []
    for _ in range(ROUNDS):
        full.append(size / seconds(index, texts))
        ours.append(sample_size / seconds(index, sample))
        peer.append(sample_size / float(ask(python, suite, sample)["seconds"]))
    whole, quick, slow = (statistics.median(rates) for rates in (full, ours, peer))
    rows = [
        row(f"MB per CPU second on {size:.0f} MB; peer on {sample_size:.1f} MB", whole, slow, 100),
        row(f"MB per CPU second on the same {sample_size:.1f} MB as {name}", quick, slow, None),
    ]
    rows += recall(index, python, suite, to_plant, texts)
    rows += false_alarms(index, python, suite, texts, sample)
    rows += passage_rows(texts)
    report(rows)


def cases() -> tuple[list[Case], list[str]]:
    """Return cases `(cluster, text)` of benchmarks, or the shipped ones, and those that may be planted."""
    found: list[str] = []
    if (SHARED / "gsm8k").exists():
        lines = [json.loads(line) for line in (SHARED / "gsm8k" / "train.jsonl").read_text().splitlines()]
        to_plant = [line["question"] for line in lines]
        found += [f"{line['question']}\n{line['answer'].rsplit('####')[-1].strip()}" for line in lines]
        for file in sorted((SHARED / "bbh").glob("*.json")):
            found += [example["input"] for example in json.loads(file.read_text())["examples"]]
        found += [entry["QUESTION"] for entry in json.loads((SHARED / "pubmedqa" / "dev.json").read_text()).values()]
        found += [json.loads(line)["prompt"] for line in (SHARED / "humaneval" / "dev.jsonl").read_text().splitlines()]
    else:
        print(f"{SHARED / 'gsm8k'} is not there: taking the cases that are shipped")
        for file in sorted(SHIPPED.glob("*.jsonl")):
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            found += [line.get("text") or line["prompt"] for line in lines]
        to_plant = [text for text in found if len(text.split()) >= RUN_WORDS_MIN]
    return [(str(number), text) for number, text in enumerate(found)], to_plant


def seconds(index: ContaminationIndex, texts: list[bytes]) -> float:
    """Return the CPU seconds that looking through all texts costs, 4 MB at a time as curation does."""
    ends = np.cumsum([len(text) for text in texts]) // 4_000_000
    starts = [0, *(np.flatnonzero(np.diff(ends)) + 1), len(texts)]
    begin = time.process_time()
    for start, end in itertools.pairwise(starts):
        index.annotate(texts[start:end])
    return time.process_time() - begin


def found_in(index: ContaminationIndex, texts: list[bytes]) -> list[bool]:
    return [any(map(gives_away, overlaps)) for overlaps in index.annotate(texts)]


def recall(
    index: ContaminationIndex, python: Path, suite: list[Case], to_plant: list[str], texts: list[bytes]
) -> list[dict[str, object]]:
    """Return the share of planted cases that is found, per change, of documents that were clean before."""
    rng = random.Random(5)
    hosts = [text for text in texts if 1_500 <= len(text) <= 6_000]
    hosts = rng.sample([host for host, bad in zip(hosts, found_in(index, hosts), strict=True) if not bad], PLANTED)
    chosen = rng.sample(to_plant, min(PLANTED, len(to_plant)))
    documents = []
    for _, change in CHANGES.values():
        for host, case in zip(hosts, chosen, strict=False):
            lines = host.decode().split("\n")
            lines.insert(rng.randrange(len(lines) + 1), change(case, rng))
            documents.append("\n".join(lines).encode())
    ours = np.array(found_in(index, documents)).reshape(len(CHANGES), -1).mean(axis=1)
    theirs = np.array(ask(python, suite, documents)["found"]).reshape(len(CHANGES), -1).mean(axis=1)
    return [
        row(f"recall of {len(chosen)} planted cases, {change}", mine, other, goal)
        for (change, (goal, _)), mine, other in zip(CHANGES.items(), ours.tolist(), theirs.tolist(), strict=True)
    ]


def false_alarms(
    index: ContaminationIndex, python: Path, suite: list[Case], texts: list[bytes], sample: list[bytes]
) -> list[dict[str, object]]:
    """Return the share of documents that are found although nobody planted anything."""
    ours = found_in(index, texts)
    theirs = ask(python, suite, sample)["found"]
    return [
        row(f"false alarms in {len(texts):,} documents, share", statistics.mean(ours), None, 0.01),
        row(
            f"false alarms in the same {len(sample)} documents as the peer, share",
            statistics.mean(found_in(index, sample)),
            statistics.mean(theirs),
            None,
        ),
    ]


def passage_rows(texts: list[bytes]) -> list[dict[str, object]]:
    """Return how many documents of one collection are lost to passages of others of the same collection.

    Manuals repeat notices and phrases; beside our rule stands the usual one, any run of thirteen words in common.
    """
    chosen = random.Random(7).sample([text for text in texts if 2_000 <= len(text) <= 50_000], 1_100)
    heldout, rest = chosen[:100], chosen[100:]
    cut = passages(((str(at), text.decode()) for at, text in enumerate(heldout)), characters=2_048, num_max=128)
    index = ContaminationIndex(
        {SUITE: read_contamination_set(pack_contamination_set((c.cluster, c.text) for c in cut))}
    )
    found = index.annotate(rest)
    usual = [any(overlap.run_words >= RUN_WORDS_MIN for overlap in overlaps) for overlaps in found]
    ours = [any(map(gives_away, overlaps)) for overlaps in found]
    name = "share of 1,000 documents lost to 128 passages of 100 others; peer: any run of 13 words"
    return [row(name, statistics.mean(ours), statistics.mean(usual), None)]


def ask(python: Path, suite: list[Case], documents: list[bytes]) -> dict:
    """Return what the peer finds in documents, and its CPU seconds."""
    folder = ROOT / "build" / "peers" / "decontamination"
    folder.mkdir(parents=True, exist_ok=True)
    given, read, taken = (folder / name for name in ("cases.jsonl", "documents.jsonl", "found.json"))
    given.write_text("".join(json.dumps({"text": text}) + "\n" for _, text in suite))
    read.write_text("".join(json.dumps({"text": text.decode()}) + "\n" for text in documents))
    program = Path(__file__).with_name("peer_decontamination.py")
    subprocess.run([python, program, given, read, taken], check=True)
    return json.loads(taken.read_text())


def row(metric: str, ours: float, other: float | None, goal: float | None) -> dict[str, object]:
    ratio = round(ours / other, 3) if other else None
    peer_value = round(other, 4) if other is not None else None
    return {"metric": metric, "ours": round(ours, 4), "peer": peer_value, "ratio": ratio, "limit": None, "goal": goal}


def report(rows: list[dict[str, object]]) -> None:
    path = ROOT / "build" / "bench" / "decontamination.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for shown in rows:
        figures = "  ".join(f"{key} {shown[key]}" for key in ("ours", "peer", "ratio", "limit", "goal"))
        print(f"{shown['metric']:100} {figures}")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
