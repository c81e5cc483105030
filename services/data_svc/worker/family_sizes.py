"""How large the families of related documents are: the report's answer to what the split keeps together."""

from __future__ import annotations

import numpy as np
from bessemer.artifacts.report import Report

from data_svc.domain.splitting import HELDOUT, MOST
from data_svc.worker.batches import bytes_of
from data_svc.worker.documents import Documents

__all__ = ["show_families"]

_SHOWN = 20


def show_families(report: Report, documents: Documents) -> None:
    """Add the largest families with their share of the text, and what follows if one is most of it."""
    _, family = np.unique(bytes_of(documents.table["family"]), return_inverse=True)
    sizes, counts = np.bincount(family, documents.texts.sizes), np.bincount(family)
    largest = np.argsort(-sizes, kind="stable")[:_SHOWN]
    shares = sizes / sizes.sum()
    report.heading("Families")
    report.paragraph(
        f"{len(documents):,} documents are {len(sizes):,} families. Copies, versions and parts of one another are one "
        "family, and a family is trained on or held out as a whole. The largest is "
        f"{shares[largest[0]]:.1%} of the text."
    )
    if len(sizes) == 1:
        report.paragraph("With a single family nothing can be held out; add documents that say something else.")
    elif shares[largest[0]] > MOST:
        report.paragraph(
            "It is most of the text and so it is trained on, whatever the seed. What is held out comes from the rest "
            "and says little about it: evaluate on a suite of its contents, or add documents of other origin."
        )
    rows = []
    for number in largest.tolist():
        members = np.flatnonzero(family == number)
        longest = documents.take(members[[np.argmax(documents.texts.sizes[members])]])
        [record] = longest.records(("source", "split"))
        if counts[number] > 1:
            held = "yes" if record["split"] == HELDOUT else "no"
            rows.append((str(record["source"]), int(counts[number]), f"{shares[number]:.1%}", held))
    if rows:
        report.table(["longest document", "documents", "share of the text", "held out"], rows)
