"""What the rules of web corpora would drop, per format: the report's answer to why they are not applied."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
from bessemer.artifacts.report import Report

from data_svc.domain.quality_rules import RULES, failures
from data_svc.worker.documents import Documents

__all__ = ["broken_rules", "count_web_rules", "names_of", "show_web_rules"]

_EXAMPLES = 20
_RULES_NAMED = 3
_ANY = "any rule"

Broken = npt.NDArray[np.uint32]


def broken_rules(documents: Documents) -> Broken:
    """Return the rules that each document breaks, as bits in the order of `RULES`."""
    broken = np.zeros(len(documents), np.uint32)
    for bit, rule in enumerate(RULES):
        values = documents.annotation(rule.measure).astype(np.float64, copy=False)
        broken |= (~((rule.low <= values) & (values <= rule.high))).astype(np.uint32) << np.uint32(bit)
    return broken


def names_of(broken: int) -> list[str]:
    """Return the names of the rules that are bits of a number."""
    return [rule.name for bit, rule in enumerate(RULES) if broken >> bit & 1]


def count_web_rules(broken: Broken) -> dict[str, int]:
    """Return how many documents break each rule that one breaks at all, and how many break any."""
    counts = {_ANY: int(np.count_nonzero(broken))}
    counts |= {rule.name: int((broken >> np.uint32(bit) & np.uint32(1)).sum()) for bit, rule in enumerate(RULES)}
    return {name: count for name, count in counts.items() if count}


def show_web_rules(report: Report, documents: Documents, broken: Broken) -> None:
    """Add the share of documents per format that breaks each rule, and the documents that break most."""
    form = documents.table["format"].to_numpy()
    totals = Counter(form.tolist())
    counts = {name: count_web_rules(broken[form == name]) for name in totals}
    formats = [name for name, _ in totals.most_common()]
    report.heading("What a web corpus would drop")
    report.paragraph(
        "Gopher, C4 and FineWeb filter crawled pages. Their rules fit prose: manuals, tables, lists and code break "
        "them and are good all the same. So they drop nothing unless the recipe says quality = web."
    )
    report.table(
        ["rule", *(f"{name} ({totals[name]:,})" for name in formats)],
        [
            (rule, *(f"{counts[name].get(rule, 0) / totals[name]:.1%}" for name in formats))
            for rule in (_ANY, *(rule.name for rule in RULES))
            if any(rule in found for found in counts.values())
        ],
    )
    worst = np.argsort(-np.bitwise_count(broken).astype(np.int64), kind="stable")[:_EXAMPLES]  # then by source
    found = [failures(documents.quality(number)) for number in worst.tolist()]
    shown = documents.take(worst).records(("source", "format"))
    report.heading("Kept documents that break most of these rules", 3)
    report.table(
        ["source", "format", "rules", "the first of them"],
        [
            (str(record["source"]), str(record["format"]), len(rules), "; ".join(map(str, rules[:_RULES_NAMED])))
            for record, rules in zip(shown, found, strict=True)
            if rules
        ],
    )
