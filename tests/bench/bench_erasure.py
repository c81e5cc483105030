"""Erasure from a version of 100,000 documents: CPU seconds of the operation, with and without the start of a process.

Texts are pieces of about 4 kB of real manuals, each piece used as often as it takes to have enough, with its number in
front; tokens are drawn at random, because erasure does not look at them. Each round plants a person of its own in three
documents, so that no result is found in the store already; they lie beside each other, or, scattered, in three parts of
the texts. The limit is what cannot be left out with files that are verified on reading and named by digest: SHA-256 of
all that changes, once on the way in and once out, with one copy of it, and for an identifier SHA-256 of all texts.
Before each round memory is used and given back, since a virtual machine asks its host for every page that it has not
used for a while, which costs ten times what the page does.
"""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob, ErasureReceipt  # noqa: E402
from bessemer.artifacts.blobs import Blobs  # noqa: E402
from bessemer.artifacts.manifest import read_manifest  # noqa: E402
from bessemer.artifacts.texts import is_text_part  # noqa: E402
from bessemer.svckit.objects_files import FileObjects  # noqa: E402
from data_svc.domain.erasure import Selector, read_identifiers, selector_of_task  # noqa: E402
from data_svc.domain.reasons import Reason, Rejection  # noqa: E402
from data_svc.domain.recipes import Recipe  # noqa: E402
from data_svc.domain.terms import TERMS  # noqa: E402
from data_svc.worker.batches import batches, fixed, write_table  # noqa: E402
from data_svc.worker.documents import Documents  # noqa: E402
from data_svc.worker.erase import erase_pinned  # noqa: E402
from data_svc.worker.operators import annotate, operators_of  # noqa: E402
from data_svc.worker.profile import page, text_profile  # noqa: E402
from data_svc.worker.rejections import Rejections  # noqa: E402
from data_svc.worker.sandbox import ParsedDocument  # noqa: E402
from data_svc.worker.slices import Slices  # noqa: E402
from data_svc.worker.texts import _records as records  # noqa: E402
from data_svc.worker.texts import _write_split as write_split  # noqa: E402
from data_svc.worker.version import Draft, count_reasons  # noqa: E402
from data_svc.worker.web_rules import broken_rules  # noqa: E402

ROUNDS = 3
NUM_DOCUMENTS, NUM_REJECTIONS = 100_000, 10_000
TEXT_BYTES = 4000
BYTES_PER_TOKEN = 4
SEQUENCE_LENGTH = 2048
DTYPE = np.dtype("<u2")
PACKAGES = "linux-doc-6.1 python3.11-doc developers-reference debian-policy debian-handbook"
GOAL_S = 1.0
PERSONS = 200
SCATTER = 30_000
FIRST_SCATTERED = 1000
KINDS = ("identifier", "scattered identifier", "source")


def main() -> None:
    """Measure, print the table, write `build/bench/erasure.json`."""
    with tempfile.TemporaryDirectory(prefix="bessemer-bench-") as name:
        folder = Path(name)
        job = make_version(folder)
        (folder / "job").write_bytes(job.SerializeToString())
        run(folder, "identifier", ROUNDS + 1)  # compiles
        seconds: dict[str, list[float]] = {
            f"{kind}, {what}": [] for kind in KINDS for what in ("CPU", "wall", "process")
        }
        limits: dict[str, list[float]] = {kind: [] for kind in KINDS}
        sizes = set()
        for number in range(ROUNDS):
            for kind in KINDS:
                cpu, wall, receipt = run(folder, kind, number)
                seconds[f"{kind}, CPU"].append(cpu)
                seconds[f"{kind}, wall"].append(wall)
                seconds[f"{kind}, process"].append(process(folder, kind, number))
                limit, size = limit_s(folder, job, receipt, kind)
                limits[kind].append(limit)
                sizes.add(size)
        print(f"files that changed: {max(sizes) / 1e6:.0f} MB of {NUM_DOCUMENTS:,} documents")
        report(
            [
                row(f"erasure by {name}, seconds", statistics.median(s), statistics.median(limits[name.split(",")[0]]))
                for name, s in seconds.items()
            ]
        )


def run(folder: Path, kind: str, number: int) -> tuple[float, float, ErasureReceipt]:
    """Erase as the worker does; return CPU seconds, wall seconds and the receipt."""
    job = DatasetJob.FromString((folder / "job").read_bytes())
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    subprocess.run([sys.executable, "-c", "import numpy; numpy.ones(1 << 27)"], check=True)
    begin, begin_wall = time.process_time(), time.perf_counter()
    result = erase_pinned(job, selector(kind, number), Blobs(FileObjects(folder / "objects"), "p"), work)
    cpu, wall = time.process_time() - begin, time.perf_counter() - begin_wall
    if result.receipt.num_documents != 3:
        sys.exit(f"{result.receipt.num_documents} documents were found, 3 are there")
    return cpu, wall, result.receipt


def process(folder: Path, kind: str, number: int) -> float:
    """Return the CPU seconds of a whole process that does the same to another three documents."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, __file__, str(folder), kind, str(number + 100)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def selector(kind: str, number: int) -> Selector:
    """Return what picks the three documents of a round."""
    if kind == "source":
        return selector_of_task([f"hr/person-{number}/*"], [], "")
    name = "Scattered" if kind == "scattered identifier" else "Person"
    value = {"identifiers": [f"{name}.{number}@Example.org"], "salt": "0" * 64}
    return read_identifiers(json.dumps(value).encode())


def limit_s(folder: Path, job: DatasetJob, receipt: ErasureReceipt, kind: str) -> tuple[float, int]:
    """Return the CPU seconds of digests and copies alone, and the bytes of the files that changed."""
    blobs = Blobs(FileObjects(folder / "objects"), "p")
    changed = {file.path for file in receipt.files}
    files = read_manifest(blobs, job.inputs.manifest).files
    entries = [entry for entry in files if entry.path in changed]
    looked_at = [entry for entry in files if is_text_part(entry.path) and "identifier" in kind]
    begin = time.process_time()
    for entry in [*entries, *entries, *looked_at]:
        with (folder / "objects" / entry.key).open("rb") as file:
            hashlib.file_digest(file, "sha256")
    for entry in entries:
        shutil.copyfile(folder / "objects" / entry.key, folder / "copy")
    return time.process_time() - begin, sum(entry.size_bytes for entry in entries)


def make_version(folder: Path) -> DatasetJob:
    """Seal a version as curation does, but for its tokens, and return a job that names it."""
    random = np.random.default_rng(0)
    draft = Draft(folder / "version")
    draft.folder.mkdir()
    numbered = zip(range(NUM_DOCUMENTS), pieces(), strict=False)
    items = ((number, document_of(number, piece)) for number, piece in numbered)
    write_table(folder / "all.arrow", (annotate(batch, operators_of(Recipe())) for batch in batches(items)))
    documents = Documents.of([folder / "all.arrow"], [np.arange(NUM_DOCUMENTS)])
    is_heldout = np.arange(NUM_DOCUMENTS) % 10 == 9
    tokens = documents.texts.sizes // BYTES_PER_TOKEN + 1
    documents = documents.with_column("split", pa.array(np.where(is_heldout, "heldout", "train"), pa.string()))
    documents = documents.with_column("tokens", pa.array(tokens)).with_column("family", fixed(documents.ids))
    documents = documents.with_column("overlaps", pa.array(["{}"] * NUM_DOCUMENTS))
    for name in TERMS:
        documents = documents.with_column(name, pa.array([""] * NUM_DOCUMENTS, pa.string()))
    path = folder / "tokens"
    random.integers(0, 1 << 15, int(tokens.sum()), np.uint16).tofile(path)
    places = Slices([path], np.zeros(NUM_DOCUMENTS, np.int64), (np.cumsum(tokens) - tokens) * 2, tokens * 2)
    for split in ("train", "heldout"):
        write_split(draft, split, documents, places, recipe=Recipe(sequence_length=SEQUENCE_LENGTH), dtype=DTYPE)
    broken, rejections = broken_rules(documents), Rejections()
    draft.write_lines("documents.jsonl", records(documents, broken))
    for number in range(NUM_REJECTIONS):
        rejections.append(Rejection(f"scan/{number}.pdf", Reason.EMPTY, "nothing came out of it", 9000))
    draft.write_rejections(rejections)
    profile = text_profile(documents, broken)
    draft.write_json("profile.json", profile)
    splits = list(draft.splits.values())
    reasons = count_reasons(len(documents), int(documents.texts.sizes.sum()), rejections)
    (draft.folder / "report.html").write_text(
        page("Data profile", reasons, splits, profile=profile, rejections=rejections)
    )
    facts = {"sequence_length": SEQUENCE_LENGTH, "token_bytes": 2, "tokenizer_sha256": ""}
    sealed = draft.seal(Blobs(FileObjects(folder / "objects"), "p"), Recipe(), reasons, facts)
    shutil.rmtree(draft.folder)
    job = DatasetJob(name="projects/p/datasetJobs/j", inputs={"manifest": sealed.manifest})
    job.erase.dataset_version = "projects/p/datasets/d/versions/v1"
    return job


def document_of(number: int, piece: str) -> ParsedDocument:
    """Return a document; those of the first persons are signed."""
    person, third = divmod(number, 3)
    text = f"Document {number}. {piece}"
    if person < PERSONS:
        text += f"\nSigned by person.{person}@example.org"
    if 0 <= (scattered := number % SCATTER - FIRST_SCATTERED) < PERSONS and number < 3 * SCATTER:
        text += f"\nSigned by scattered.{scattered}@example.org"
    return ParsedDocument(f"hr/person-{person}/{third}.txt", "txt", text.encode(), len(text), 0)


def pieces() -> Iterator[str]:
    """Yield pieces of real text for ever."""
    files = [
        path for name in PACKAGES.split() for path in sorted(Path("/usr/share/doc", name).resolve().rglob("*.html"))
    ]
    files = [path for path in files if path.is_file()]
    if not files:
        sys.exit(f"no manuals found; apt-get install --no-install-recommends {PACKAGES}")
    while True:
        for path in files:
            text = path.read_text("utf-8", "replace")
            yield from (text[at : at + TEXT_BYTES] for at in range(0, len(text) - TEXT_BYTES, TEXT_BYTES))


def row(metric: str, ours: float, limit: float) -> dict[str, object]:
    """Return one row of the table."""
    goal = None if "process" in metric else GOAL_S
    return {
        "metric": metric,
        "ours": round(ours, 3),
        "peer": None,
        "ratio": None,
        "limit": round(limit, 3),
        "goal": goal,
    }


def report(rows: list[dict[str, object]]) -> None:
    """Print the rows and write them."""
    path = ROOT / "build" / "bench" / "erasure.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for entry in rows:
        print(f"{entry['metric']:56} " + "  ".join(f"{key} {entry[key]}" for key in ("ours", "limit", "goal")))
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    else:
        main()
