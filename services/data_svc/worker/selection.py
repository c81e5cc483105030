"""What a person accepted and rejected, learnt and applied: every document gets a probability of being accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from bessemer.artifacts.blobs import sha256_of
from bessemer.artifacts.manifest import JSON
from bessemer.artifacts.report import Report

from data_svc.domain.partitions import result_key
from data_svc.domain.personal_data import KINDS
from data_svc.domain.quality_labels import QualityLabel, check_enough, read_labels
from data_svc.domain.reasons import Reason
from data_svc.domain.recipes import Recipe
from data_svc.worker import classifier
from data_svc.worker.batches import read_matrix
from data_svc.worker.documents import Documents, hexadecimal
from data_svc.worker.executor import Executor, Task
from data_svc.worker.personal_data import redact
from data_svc.worker.rejections import Rejections
from data_svc.worker.slices import Numbers
from data_svc.worker.tasks import SCORE_VERSION

__all__ = ["Selection", "select"]

_SHOWN = 10
_EXCERPT_BYTES = 200
Examples = list[tuple[str, float, str]]


@dataclass(frozen=True)
class Selection:
    """How the classifier was made, and the documents it likes best and least."""

    facts: dict[str, JSON]
    best: Examples = field(default_factory=list)
    worst: Examples = field(default_factory=list)

    def show(self, report: Report) -> None:
        """Add how well it judges, and the examples."""
        report.heading("What the accepted and rejected documents teach")
        report.paragraph(
            "A classifier learnt from the labels, and every document got the probability that it would be accepted. "
            "AUC and accuracy are those on labelled documents that it had not learnt from. AUC 0.5 is chance: then the "
            "labels follow no pattern of words, and no threshold should be set."
        )
        report.numbers({name: value for name, value in self.facts.items() if isinstance(value, int | float)})
        for title, examples in (("Most likely to be accepted", self.best), ("Least likely", self.worst)):
            report.heading(title, 3)
            report.table(["source", "probability", "begins"], examples)


def select(
    documents: Documents,
    labels: Path,
    recipe: Recipe,
    rejections: Rejections,
    executor: Executor,
    *,
    scratch: Path,
    tick: Callable[[str, float], None],
) -> tuple[Documents, Selection]:
    """Return the documents with their `accept_probability`, without those below the recipe's threshold if it has one.

    The verdict of a labelled document stands. `labels` is a file as of `read_labels`.
    Raises: InvalidRequest if the labels do not fit their form, or name too few documents.
    """
    with labels.open("rb") as lines:
        given = read_labels(lines)
    verdicts, texts, accepted = _named(documents, given)
    num_accepted = int(accepted.sum())
    check_enough(num_accepted, len(accepted) - num_accepted, max(0, len(given) - len(accepted)))
    tick("learning from labels", 0.0)
    learnt = classifier.features(texts)
    judged = classifier.cross_validate(*learnt, accepted)
    weights = scratch / "weights.npy"
    np.save(weights, classifier.fit(*learnt, accepted))
    found = _scores(documents, weights, executor, tick)
    facts: dict[str, JSON] = {
        "accepted": num_accepted,
        "rejected": len(accepted) - num_accepted,
        "auc": round(judged.auc, 4),
        "accuracy": round(judged.accuracy, 4),
        "threshold": recipe.classifier_threshold,
        "labels_sha256": sha256_of(labels),
    }
    order = np.lexsort((documents.ids, -found))
    examples = (_examples(documents, found, chosen) for chosen in (order[:_SHOWN], order[::-1][:_SHOWN]))
    selection = Selection(facts, *examples)
    documents = documents.with_column("accept_probability", pa.array(found))
    kept = np.where(verdicts >= 0, verdicts == 1, found >= recipe.classifier_threshold)
    if not recipe.classifier_threshold:
        return documents, selection
    dropped = np.flatnonzero(~kept)
    rejections.add_columns(
        source=documents.table["source"].take(dropped),
        reason=[str(Reason.REJECTED_BY_CLASSIFIER)] * len(dropped),
        detail=[
            "a person rejected it" if verdicts[number] == 0 else f"accepted with a probability of {found[number]:.3f}"
            for number in dropped.tolist()
        ],
        size_bytes=documents.texts.sizes[dropped],
    )
    return documents.take(np.flatnonzero(kept)), selection


def _named(documents: Documents, labels: list[QualityLabel]) -> tuple[Numbers, list[bytes], npt.NDArray[np.bool_]]:
    """Return each document's verdict (-1 without), and the labelled texts and their verdicts, in order of text."""
    by_key: dict[str, dict[str, bool]] = {"source": {}, "id": {}, "text": {}}
    for label in labels:
        by_key[label.key][label.value] = label.accept
    verdicts = np.full(len(documents), -1)
    named = pc.is_in(documents.table["source"], pa.array(by_key["source"], pa.large_string())).to_numpy()
    for number in np.flatnonzero(named).tolist():
        verdicts[number] = by_key["source"][documents.table["source"][number].as_py()]
    for number, id_ in enumerate(hexadecimal(documents.ids) if by_key["id"] else ()):
        verdicts[number] = by_key["id"].get(id_, verdicts[number])
    chosen = np.flatnonzero(verdicts >= 0)
    found = dict(zip(documents.texts.read(chosen), verdicts[chosen] == 1, strict=True))
    found |= {text.encode(errors="replace"): accept for text, accept in by_key["text"].items()}
    texts = sorted(found)
    return verdicts, texts, np.array([found[text] for text in texts], np.bool_)


def _scores(
    documents: Documents, weights: Path, executor: Executor, tick: Callable[[str, float], None]
) -> npt.NDArray[np.float64]:
    """Return the probability of every document, to four places."""
    parts = [*documents.by_partition()]
    sha256 = sha256_of(weights)

    def tasks() -> Iterator[Task]:
        for here, path, rows in parts:
            request = {"kind": "score", "partition": str(path), "rows": rows.tolist(), "weights": str(weights)}
            key = result_key("score", [SCORE_VERSION, sha256, hexadecimal(documents.ids[here])])
            yield Task(key, request, path.with_suffix(".scores"))

    found = np.empty(len(documents))
    done: list[Path] = []
    for task in executor.map(tasks(), lambda at: tick(f"judging {at}", len(done) / len(parts))):
        found[parts[len(done)][0]] = read_matrix(task.out, "accept_probability")
        done.append(task.out)
    return found.round(4)


def _examples(documents: Documents, found: npt.NDArray[np.float64], chosen: Numbers) -> Examples:
    sources = [str(record["source"]) for record in documents.take(chosen).records(("source",))]
    starts = (redact(text[:_EXCERPT_BYTES], KINDS).decode(errors="ignore") for text in documents.texts.read(chosen))
    begins = [" ".join(start.split()) for start in starts]
    return list(zip(sources, found[chosen].tolist(), begins, strict=True))
