"""What curation selects by: parts of longer documents, verdicts of a person, copies with a tenth of the words changed.

Cost is in CPU seconds of one process, over the manuals that `bench_near_duplicates` reads. Parts are last thirds of
documents in capitals and with other line breaks; labels are `accept` for the manual of Python and `reject` for the
documentation of Linux. Numerical libraries run one thread.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "services"), str(Path(__file__).parent)]

from bench_near_duplicates import BASE_BYTES_MIN, PACKAGES, changed, real_texts  # noqa: E402
from data_svc.domain.recipes import Recipe  # noqa: E402
from data_svc.worker import classifier, semantics  # noqa: E402
from data_svc.worker.batches import batches, write_table  # noqa: E402
from data_svc.worker.containment import join_contained  # noqa: E402
from data_svc.worker.documents import Documents  # noqa: E402
from data_svc.worker.operators import annotate, operators_of  # noqa: E402
from data_svc.worker.sandbox import ParsedDocument  # noqa: E402

ROUNDS = 3
PARTS, LABELS, COPIES = 500, 50, 500
COSINE = 0.95
BATCH = 500


def main() -> None:
    """Measure, print the table, write `build/bench/selection.json`."""
    texts = real_texts()
    size = sum(len(text.encode()) for text in texts)
    if size < BASE_BYTES_MIN:
        sys.exit(f"only {size / 1e6:.0f} MB of text under /usr/share/doc; apt-get install {PACKAGES}")
    chance = random.Random(11)
    rows = [*containment_rows(texts, chance), *classifier_rows(texts, chance), *semantic_rows(texts, chance)]
    path = ROOT / "build" / "bench" / "selection.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for entry in rows:
        print(f"{entry['metric']:100} ours {entry['ours']}  goal {entry['goal']}")
    print(f"wrote {path.relative_to(ROOT)}")


def containment_rows(texts: list[str], chance: random.Random) -> list[dict[str, object]]:
    """Thirds of documents, planted among them: how many are found, what is joined besides, and the cost."""
    hosts = chance.sample(range(len(texts)), PARTS)
    parts = [" ".join(texts[host].upper().split()) for host in hosts]
    parts = [" ".join(words[2 * len(words) // 3 :]) for words in (part.split() for part in parts)]
    everything = [*texts, *parts]
    items = ((n, ParsedDocument(f"{n}", "text", t.encode(), len(t), 0)) for n, t in enumerate(everything))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder / "texts.arrow", (annotate(batch, operators_of(Recipe())) for batch in batches(items)))
        documents = Documents.of([folder / "texts.arrow"], [np.arange(len(everything))])
        place = {int(source): number for number, source in enumerate(documents.table["source"].to_pylist())}
        seconds = []
        for _ in range(1 + ROUNDS):  # the first one compiles
            parents = np.arange(len(everything))
            begin = time.process_time()
            samples = documents.slices("shingle_sample")
            join_contained(documents.texts, samples, parents.copy(), parents, scratch=folder, tick=lambda *_: None)
            seconds.append(time.process_time() - begin)
    mega = sum(len(text.encode()) for text in everything) / 1e6
    found = [parents[place[len(texts) + number]] == parents[place[host]] for number, host in enumerate(hosts)]
    sizes = np.bincount(parents, documents.texts.sizes)
    return [
        row("containment, MB per CPU second", mega / statistics.median(seconds[1:]), None),
        row(f"containment, share of {PARTS} thirds of documents that join their host's family", np.mean(found), 0.99),
        row("containment, share of the text in the largest family", sizes.max() / sizes.sum(), None),
    ]


def classifier_rows(texts: list[str], chance: random.Random) -> list[dict[str, object]]:
    """Learn from a few labels, judge the rest."""
    accepted = [t.encode() for t in texts if "Python" in t and "kernel" not in t]
    rejected = [t.encode() for t in texts if "kernel" in t and "Python" not in t]
    chance.shuffle(accepted)
    chance.shuffle(rejected)
    labelled = classifier.features([*accepted[:LABELS], *rejected[:LABELS]])
    verdicts = np.arange(2 * LABELS) < LABELS
    judged = classifier.cross_validate(*labelled, verdicts)
    begin = time.process_time()
    weights = classifier.fit(*labelled, verdicts)
    learning = time.process_time() - begin
    rest = [*accepted[LABELS:], *rejected[LABELS:]]
    everything = [text.encode() for text in texts]
    seconds = []
    for _ in range(1 + ROUNDS):
        begin = time.process_time()
        for start in range(0, len(everything), BATCH):
            classifier.score(*classifier.features(everything[start : start + BATCH]), weights)
        seconds.append(time.process_time() - begin)
    truth = np.arange(len(rest)) < len(accepted) - LABELS
    auc = classifier.area_under_curve(classifier.score(*classifier.features(rest), weights), truth)
    return [
        row("classifier, MB per CPU second, scoring", sum(map(len, everything)) / 1e6 / statistics.median(seconds), 20),
        row(f"classifier, CPU seconds to learn from {2 * LABELS} documents", learning, None),
        row(f"classifier, AUC by cross-validation over {2 * LABELS} documents", judged.auc, None),
        row(f"classifier, AUC over {len(rest):,} documents that have no label", auc, None),
    ]


def semantic_rows(texts: list[str], chance: random.Random) -> list[dict[str, object]]:
    """Copies with a tenth of the words changed, planted among the documents."""
    vocabulary = sorted({word for text in texts[:300] for word in text.split()})
    originals = chance.sample(range(len(texts)), COPIES)
    copies = [changed(texts[number], "edit 10 %", chance, vocabulary) for number in originals]
    everything = [text.encode() for text in [*texts, *copies]]
    semantics.Basis.fit(everything[:300]).vectors(everything[:2])  # compiles
    begin = time.process_time()
    basis = semantics.Basis.fit(everything)
    parts = [basis.vectors(everything[start : start + BATCH]) for start in range(0, len(everything), BATCH)]
    pairs = {(a, b) for a, b in semantics.similar_pairs(np.concatenate(parts), COSINE).tolist()}
    seconds = time.process_time() - begin
    found = [(number, len(texts) + copy) in pairs for copy, number in enumerate(originals)]
    besides = {b for a, b in pairs if b < len(texts)}
    linked = sum(b < len(texts) for _, b in pairs) / (len(texts) * (len(texts) - 1) / 2)
    what = f"semantic duplicates at cosine {COSINE} of {semantics.DIMENSIONS} dimensions"
    return [
        row(f"{what}, MB per CPU second", sum(map(len, everything)) / 1e6 / seconds, None),
        row(f"{what}, share of {COPIES} copies with 10 % of the words changed that are found", np.mean(found), 0.9),
        row(f"{what}, pairs of other documents linked, per million", linked * 1e6, None),
        row(f"{what}, share of other documents that have such a pair", len(besides) / len(texts), None),
    ]


def row(metric: str, mine: float, goal: float | None) -> dict[str, object]:
    """Return one row of the table."""
    return {"metric": metric, "ours": round(float(mine), 4), "peer": None, "ratio": None, "limit": None, "goal": goal}


if __name__ == "__main__":
    main()
