"""Personal data and secrets: our finder against presidio-analyzer with patterns only, on installed documentation.

Speed is cost in CPU seconds of one process, alternating. The peer is some hundred times slower, so it gets a small
sample of the same texts, and ours is timed on that sample as well. F1 is on values planted into real documents, and on
the labelled set beside the repository where it is there. What is found in real text besides the planted is not counted
as false unless it is of a planted kind and not an e-mail address: manuals are full of real ones.
"""

from __future__ import annotations

import gzip
import json
import random
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
sys.path[:0] = [str(ROOT / "libs"), str(ROOT / "services")]

from data_svc.worker.personal_data import find  # noqa: E402 # the paths above come first

ROUNDS = 3
CORPUS_BYTES, SAMPLE_BYTES = 120_000_000, 400_000
PLANTED_DOCUMENTS, PEER_DOCUMENTS = 400, 60
FOLDERS = (Path("/usr/share/doc"), Path("/usr/share/debian-policy"), Path(sys.prefix) / "lib")
ENDINGS = {".md", ".rst", ".txt", ".html", ".gz", ".po", ""}
PEER = "presidio-analyzer"
PEER_ENTITIES = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "credit_card",
    "IBAN_CODE": "iban",
    "US_SSN": "us_ssn",
    "IP_ADDRESS": "ip_address",
}
STRUCTURED = tuple(PEER_ENTITIES.values())
Labels = list[tuple[int, int, str]]
# The peer reads texts as JSON and answers with findings in characters and its CPU seconds per round.
PEER_PROGRAM = """
import json, sys, time, logging
logging.disable(logging.ERROR)
import spacy
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import SpacyNlpEngine
class Blank(SpacyNlpEngine):
    def __init__(self):
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}
engine = AnalyzerEngine(nlp_engine=Blank(), supported_languages=["en"])
given = json.load(sys.stdin)
def run(text):
    found = engine.analyze(text, "en", entities=given["entities"], score_threshold=0.3)
    return [(one.start, one.end, one.entity_type) for one in found]
run("warm up a@example.org")
begin = time.process_time()
found = [run(text) for text in given["texts"]]
json.dump({"found": found, "seconds": time.process_time() - begin}, sys.stdout)
"""


def main() -> None:
    """Measure, print the table, write `build/bench/personal_data.json`."""
    texts = list(corpus())
    size = sum(map(len, texts))
    print(f"{size / 1e6:.0f} MB in {len(texts)} documents of {', '.join(map(str, FOLDERS))}")
    if size < 100_000_000:
        print("less than 100 MB; for more: apt-get install linux-doc-6.1 debian-handbook python3.11-doc debian-policy")
    python = peer()
    version = subprocess.run(
        [python, "-c", f"import importlib.metadata as m; print(m.version('{PEER}'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    sample = within(texts, SAMPLE_BYTES)
    sample_mb = sum(map(len, sample)) / 1e6
    full, ours, theirs = [], [], []
    find(b"warm up 1:2:3 a@example.org")
    for _ in range(ROUNDS):
        full.append(size / 1e6 / seconds(texts))
        ours.append(sample_mb / seconds(sample))
        theirs.append(sample_mb / float(ask(python, [text.decode() for text in sample])["seconds"]))
    whole, quick, slow = (statistics.median(rates) for rates in (full, ours, theirs))
    name = f"{PEER} {version}, patterns only"
    rows = [
        row(
            f"MB per CPU second on {size / 1e6:.0f} MB, all kinds and secrets; peer on {sample_mb:.1f} MB",
            whole,
            slow,
            10,
        ),
        row(f"MB per CPU second on the same {sample_mb:.1f} MB as {name}", quick, slow, None),
    ]
    planted = plant(texts)
    rows += compared("planted in real documents", name, planted, python, goal=0.9)
    labelled = SHARED / "pii" / "dev.jsonl"
    if labelled.exists():
        rows += compared("labelled set", name, labelled_set(labelled), python, goal=None)
    else:
        print(f"skipped the labelled set: {labelled} is not there")
    report("personal_data", rows)


def corpus() -> Iterator[bytes]:
    """Yield UTF-8 documents of the installed documentation, about `CORPUS_BYTES` in all, each once."""
    total = 0
    seen: set[int] = set()
    files = [file for folder in FOLDERS if folder.exists() for file in folder.rglob("*")]
    random.Random(1).shuffle(files)
    for file in files:
        if file.suffix not in ENDINGS or file.is_symlink() or not file.is_file() or file.stat().st_size > 5_000_000:
            continue
        try:
            data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            data.decode()
        except (OSError, EOFError, ValueError):
            continue
        if len(data) < 500 or b"\0" in data or hash(data) in seen:
            continue
        seen.add(hash(data))
        yield data
        total += len(data)
        if total >= CORPUS_BYTES:
            return


def within(texts: Sequence[bytes], limit: int) -> list[bytes]:
    """Return texts of usual length, `limit` bytes in all."""
    chosen, total = [], 0
    for text in texts:
        if 1_500 <= len(text) <= 20_000 and total < limit:
            chosen.append(text)
            total += len(text)
    return chosen


def seconds(texts: Sequence[bytes]) -> float:
    """Return the CPU seconds that finding everything in all texts costs."""
    begin = time.process_time()
    for text in texts:
        find(text)
    return time.process_time() - begin


def plant(texts: Sequence[bytes]) -> list[tuple[str, Labels]]:
    """Return real documents with three sentences with personal data put between their lines."""
    rng = random.Random(5)
    documents = []
    for text in [text for text in texts if 1_500 <= len(text) <= 8_000][:PLANTED_DOCUMENTS]:
        lines = text.decode().split("\n")
        labels: Labels = []
        places = dict(zip(sorted(rng.sample(range(len(lines)), 3)), rng.sample(STRUCTURED, 3), strict=True))
        pieces, at = [], 0
        for number, line in enumerate(lines):
            if kind := places.get(number):
                value = planted_value(kind, rng)
                before, after = rng.choice(SENTENCES[kind])
                labels.append((at + len(before), at + len(before) + len(value), kind))
                pieces.append(before + value + after)
                at += len(pieces[-1]) + 1
            pieces.append(line)
            at += len(line) + 1
        documents.append(("\n".join(pieces), labels))
    return documents


SENTENCES = {
    "email": [("Contact ", " for access."), ("Written by <", ">.")],
    "phone": [("You can call him at ", " after 5."), ("Phone: ", ""), ("Office ", ", second floor.")],
    "credit_card": [("Payment with ", " was declined."), ("Card number: ", "")],
    "iban": [("Wire it to ", " today."), ("IBAN ", ".")],
    "us_ssn": [("His social security number is ", "."), ("SSN: ", "")],
    "ip_address": [("Login seen from ", " at night."), ("The server ", " is down.")],
}


def planted_value(kind: str, rng: random.Random) -> str:
    """Return a random value with right check digits, in one of the spellings of its kind."""
    phones = ("+1 (415) 555-####", "+49 30 ########", "+44 20 7946 0###", "212-55#-####", "(650) 253-0###")
    phones += (
        "030 ########",
        "07700 900###",
        "01 42 68 ## ##",
        "+33 1 42 68 ## ##",
        "(02) 9876 ####",
        "+81 3-####-####",
    )
    if kind == "email":
        name = rng.choice(["anna.schmidt", "j.o-neill+work", "li_wei99", "bob"])
        return f"{name}@{rng.choice(['acme-corp.de', 'mail.example.co.uk', 'startup.io'])}"
    if kind == "phone":
        return "".join(str(rng.randrange(10)) if letter == "#" else letter for letter in rng.choice(phones))
    if kind == "credit_card":
        body = rng.choice(["4", "51", "55", "2221", "6011"])
        body += "".join(str(rng.randrange(10)) for _ in range(15 - len(body)))
        doubled = sum(sum(divmod(int(digit) * 2, 10)) for digit in body[0::2])
        digits = body + str(-(doubled + sum(map(int, body[1::2]))) % 10)
        return rng.choice(["", " ", "-"]).join(digits[at : at + 4] for at in range(0, 16, 4))
    if kind == "iban":
        body = "".join(str(rng.randrange(10)) for _ in range(18))
        digits = f"DE{98 - int(body + '131400') % 97:02d}{body}"
        return rng.choice(["", " "]).join(digits[at : at + 4] for at in range(0, 22, 4))
    if kind == "us_ssn":
        return f"{rng.randint(101, 665)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"
    return ".".join(map(str, (rng.choice([52, 81, 93, 185]), *(rng.randint(1, 254) for _ in range(3)))))


def labelled_set(path: Path) -> list[tuple[str, Labels]]:
    """Return the texts of the labelled set with its structured labels."""
    documents = []
    for line in path.read_text().splitlines():
        record = json.loads(line)
        labels = [
            (span["start_position"], span["end_position"], PEER_ENTITIES[span["entity_type"]])
            for span in record["spans"]
            if span["entity_type"] in PEER_ENTITIES
        ]
        documents.append((record["full_text"], labels))
    return documents


def compared(
    what: str, peer_name: str, documents: list[tuple[str, Labels]], python: Path, *, goal: float | None
) -> list[dict[str, object]]:
    """Return a row for all of our documents and one for the part that the slow peer reads too."""
    ours = [in_characters(text) for text, _ in documents]
    planted = goal is not None
    part = documents[:PEER_DOCUMENTS] if planted else documents
    answered = ask(python, [text for text, _ in part])["found"]
    theirs = [[(start, end, PEER_ENTITIES[kind]) for start, end, kind in found] for found in answered]
    labels = [label for _, label in documents]
    other = f1(labels[: len(part)], theirs, real_mail=planted)
    same = f1(labels[: len(part)], ours[: len(part)], real_mail=planted)
    return [
        row(f"F1 {what}, {len(documents)} documents", f1(labels, ours, real_mail=planted), None, goal),
        row(f"F1 {what}, the same {len(part)} as {peer_name}", same, other, None),
    ]


def in_characters(text: str) -> Labels:
    """Return our structured findings with places in characters."""
    data = text.encode()
    found = [span for span in find(data) if span.kind in STRUCTURED]
    return [(len(data[: span.start].decode()), len(data[: span.end].decode()), span.kind) for span in found]


def f1(labels: Sequence[Labels], found: Sequence[Labels], *, real_mail: bool) -> float:
    """Return F1 over all documents; a finding is right if it overlaps a label of its kind.

    With `real_mail` other e-mail addresses are not counted as false: they are real and only not labelled.
    """
    right = wrong = missed = 0
    for expected, given in zip(labels, found, strict=True):
        hit = [any(k == kind and s < end and start < e for s, e, k in given) for start, end, kind in expected]
        right, missed = right + sum(hit), missed + len(hit) - sum(hit)
        wrong += sum(
            not any(k == kind and s < end and start < e for s, e, k in expected)
            for start, end, kind in given
            if kind != "email" or not real_mail
        )
    return 2 * right / max(1, 2 * right + wrong + missed)


def peer() -> Path:
    """Return the Python of the peer's own environment, made when missing."""
    folder = ROOT / "build" / "peers" / "presidio"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=True)
        (folder / ".ready").touch()
    return python


def ask(python: Path, texts: list[str]) -> dict:
    """Return what the peer finds in texts, and its CPU seconds."""
    given = json.dumps({"texts": texts, "entities": list(PEER_ENTITIES)})
    done = subprocess.run(
        [python, "-W", "ignore", "-c", PEER_PROGRAM], input=given, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def row(metric: str, ours: float, other: float | None, goal: float | None) -> dict[str, object]:
    ratio = round(ours / other, 3) if other else None
    peer_value = round(other, 3) if other is not None else None
    return {"metric": metric, "ours": round(ours, 3), "peer": peer_value, "ratio": ratio, "limit": None, "goal": goal}


def report(name: str, rows: list[dict[str, object]]) -> None:
    path = ROOT / "build" / "bench" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for shown in rows:
        figures = "  ".join(f"{key} {shown[key]}" for key in ("ours", "peer", "ratio", "limit", "goal"))
        print(f"{shown['metric']:100} {figures}")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
