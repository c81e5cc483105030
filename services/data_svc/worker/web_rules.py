"""What the rules of web corpora would drop, per format: the report's answer to why they are not applied."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from bessemer.artifacts.report import Report

from data_svc.domain.quality_rules import RULES, failures
from data_svc.worker.corpus import Document

__all__ = ["count_web_rules", "show_web_rules"]

_EXAMPLES = 20
_RULES_NAMED = 3
_ANY = "any rule"


def count_web_rules(documents: Sequence[Document]) -> dict[str, int]:
    """Return how many documents break each rule that one breaks at all, and how many break any."""
    counts: Counter[str] = Counter()
    for document in documents:
        broken = [failure.rule.name for failure in failures(document.quality)]
        counts.update(broken)
        counts[_ANY] += bool(broken)
    return dict(counts)


def show_web_rules(report: Report, documents: Sequence[Document]) -> None:
    """Add the share of documents per format that breaks each rule, and the documents that break most."""
    if not documents:
        return
    totals = Counter(document.format for document in documents)
    by_format: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        by_format[document.format].append(document)
    counts = {name: count_web_rules(group) for name, group in by_format.items()}
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
    worst = sorted(((failures(d.quality), d) for d in documents), key=lambda pair: (-len(pair[0]), pair[1].source))
    report.heading("Kept documents that break most of these rules", 3)
    report.table(
        ["source", "format", "rules", "the first of them"],
        [
            (document.source, document.format, len(broken), "; ".join(map(str, broken[:_RULES_NAMED])))
            for broken, document in worst[:_EXAMPLES]
            if broken
        ],
    )
