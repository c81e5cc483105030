"""Sections of the report, one for each axis, with the documents that show it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from bessemer.api.data.v1 import assessment_pb2 as pb
from bessemer.artifacts.report import Cell, Series
from bessemer.artifacts.report_panels import Heat, Mark, Multiple, Panels

from data_svc.domain.personal_data import PII, SECRETS
from data_svc.domain.quality_rules import MEANINGS, RULES, Rule
from data_svc.domain.structure import Structure
from data_svc.worker.assessment_counts import Findings
from data_svc.worker.assessment_measures import edges_of, is_repetition
from data_svc.worker.assessment_scan import REPEATED, Scanned
from data_svc.worker.profile import histogram
from data_svc.worker.topics import type_token_curve

__all__ = ["honesty", "quality", "redundancy", "safety", "source_name", "structure", "tokenizer", "variety"]

_FORMATS = 4
_RULES_DRAWN = 6
_ROWS = 20
_EXAMPLES = 5
_COPIES_NAMED = 4


def quality(report: Panels, findings: Findings) -> None:
    """Add the rules by format, the distributions behind the most broken ones, and the worst documents."""
    report.heading("Is it clean?")
    report.paragraph(
        "Each rule is one that web corpora (Gopher, C4, FineWeb) drop pages by. They were made for prose on the web: "
        "manuals, tables and code break them and are good all the same, so nothing was dropped for them. A rule that "
        "one format breaks and the others keep is worth a look."
    )
    groups = _by_format(findings)
    broken = {rule: [_share_outside(rule, members) for members in groups.values()] for rule in RULES}
    shown = [rule for rule in RULES if any(broken[rule])]
    report.marked_table(
        ["share of documents outside", *(f"{name} ({len(members):,})" for name, members in groups.items())],
        [(rule.name, *(Heat(f"{share:.0%}", share) for share in broken[rule])) for rule in shown],
    )
    total = {rule: _share_outside(rule, findings.documents) for rule in shown}
    for rule in _most_telling(shown, total):
        text = MEANINGS[rule.measure]
        report.heading(f"{text[0].upper()}{text[1:]}", 3)
        report.multiples(_multiple(rule, name, members) for name, members in groups.items())
        _worst(report, findings, rule)


def _most_telling(rules: Sequence[Rule], total: dict[Rule, float]) -> list[Rule]:
    """Return the most broken rules, one for each kind of measure: n-grams of all lengths are one kind."""
    kinds: dict[str, Rule] = {}
    for rule in sorted(rules, key=lambda rule: -total[rule]):
        kinds.setdefault("".join(c for c in rule.measure if not c.isdigit()).removesuffix("_share"), rule)
    return list(kinds.values())[:_RULES_DRAWN]


def _multiple(rule: Rule, name: str, members: Sequence[Scanned]) -> Multiple:
    edges = edges_of(rule.measure)
    drawn = histogram(rule.measure, edges, [getattr(d.quality, rule.measure) for d in members])
    counts: Sequence[int] = drawn["counts"]  # type: ignore[assignment] # as `histogram` makes it
    used = edges[: len(counts) + 1]
    high = rule.high + 1 if rule.measure.endswith("_lines") else rule.high  # the bin of a count ends with the next
    return Multiple(name, used, counts, rule.low, high, f"{_share_outside(rule, members):.0%} outside")


def _worst(report: Panels, findings: Findings, rule: Rule) -> None:
    def distance(document: Scanned) -> float:
        value = getattr(document.quality, rule.measure)
        return float(max(rule.low - value, value - rule.high))

    worst = sorted(findings.documents, key=lambda d: (-distance(d), d.source))[:_EXAMPLES]
    around = REPEATED if is_repetition(rule) else ""
    report.fold("The documents that are furthest outside")
    report.table(
        ["document", "value", "a piece of it"],
        [
            (d.source, getattr(d.quality, rule.measure), findings.scan.excerpt(d, around))
            for d in worst
            if distance(d) > 0
        ],
    )
    report.unfold()


def redundancy(report: Panels, findings: Findings) -> None:
    """Add the sizes of clusters, the largest of them, and the documents with most borrowed text."""
    report.heading("Is it repeated?")
    sizes = Counter(len(cluster.copies) + 1 for cluster in findings.clusters)
    if findings.clusters:
        report.bars("Documents delivered so many times", {f"{n} times": float(sizes[n]) for n in sorted(sizes)})
        rows = []
        for cluster in findings.clusters[:_ROWS]:
            more = len(cluster.copies) - _COPIES_NAMED
            named = ", ".join(cluster.copies[:_COPIES_NAMED]) + (f" and {more} more" if more > 0 else "")
            rows.append((cluster.source, len(cluster.copies), named))
        report.table(["kept", "copies left out", "which"], rows)
    else:
        report.paragraph("No document was delivered twice.")
    borrowed = sorted(findings.documents, key=lambda d: (-max(d.phrase_share, d.known_share) * d.tokens, d.source))
    report.heading("Kept documents with most text that stands elsewhere", 3)
    report.marked_table(
        ["document", "split", "tokens", "in runs of 13 words", "in runs of 50 words"],
        [
            (d.source, d.split, d.tokens, _heat(max(d.phrase_share, d.known_share)), _heat(d.run_share))
            for d in borrowed[:10]
            if d.phrase_share + d.known_share > 0
        ],
    )


def structure(report: Panels, findings: Findings, context_length: int) -> None:
    """Add what documents are built of, by format, and how long they are."""
    report.heading("Is it structured?")
    groups = _by_format(findings)
    words = [name.replace("_", " ") for name in Structure._fields]
    report.marked_table(
        ["share of documents with", "documents", *words],
        [
            (name, len(members), *(_plain(_share_with(members, place)) for place in range(len(words))))
            for name, members in groups.items()
        ],
    )
    report.heading("Lengths in tokens", 3)
    rows: list[tuple[Cell | Heat, ...]] = []
    for name, members in groups.items():
        tokens = np.array([document.tokens for document in members])
        quantiles = [int(q) for q in np.quantile(tokens, (0.1, 0.5, 0.9, 1.0))]
        rows.append((name, *quantiles, _plain(float((tokens > context_length).mean()))))
    report.marked_table(
        ["format", "a tenth below", "half below", "nine tenths below", "longest", f"over {context_length:,}"], rows
    )


def variety(report: Panels, findings: Findings) -> None:
    """Add the topics, each with typical documents, and how fast new words run out."""
    report.heading("Is it varied?")
    total = sum(len(topic.members) for topic in findings.topics.topics)
    rows = []
    for topic in findings.topics.topics:
        typical = [findings.documents[findings.scan.sample[place]].source for place in topic.members[:2]]
        rows.append((", ".join(topic.words), _plain(len(topic.members) / total), ", ".join(typical)))
    if rows:
        report.paragraph(
            f"{findings.topics.compared} documents are as varied as {findings.topics.effective_number:.0f} that have "
            "no word in common. Below, documents that use the same words, called by the words that set them apart."
        )
        report.marked_table(["topic", "documents", "most typical"], rows)
    curve = type_token_curve(findings.scan.word_hashes)
    report.lines(
        "How many different words were met; a line that lies flat means that more of the same adds nothing",
        [Series("different words", [(0, 0), *map(_floats, curve)])],
        x_label="words read",
        y_label="different words",
    )


def safety(report: Panels, findings: Findings) -> None:
    """Add what was found by source and kind, examples of each kind, and licences."""
    report.heading("Is it safe?")
    kinds = [kind for kind in (*SECRETS, *PII) if any(kind in d.found for d in findings.documents)]
    if kinds:
        report.paragraph("Findings per MB of text. Secrets come first; one of them is one too many.")
        rows: list[tuple[Cell | Heat, ...]] = []
        columns = {kind: (kind,) for kind in PII if kind in kinds}
        for name, counts in findings.sources.items():
            found = [sum(counts.found.get(kind, 0) for kind in group) for group in (SECRETS, *columns.values())]
            rates = [times * 1e6 / max(counts.bytes, 1) for times in found]
            if any(rates):
                rows.append((source_name(name), *(Heat(_rate(rate), rate / 1000) for rate in rates)))
        report.marked_table(["source", "secrets", *(kind.replace("_", " ") for kind in columns)], rows)
        report.fold("Where they are; what was found is replaced by its kind")
        report.marked_table(["kind", "document", "times", "around it"], _examples(findings, kinds))
        report.unfold()
    else:
        report.paragraph("No personal data and no secrets were found.")
    terms = Counter(document.terms for document in findings.documents)
    if any(stated.given() for stated in terms):
        shown = [
            (t.license or "not stated", t.consent or "not stated", t.retain_until or "no end", n)
            for t, n in terms.most_common(_ROWS)
        ]
        report.table(["stated licence", "consent", "last day of use", "documents"], shown)
    licences = Counter(name for document in findings.documents for name in document.licences)
    report.bars("Documents that name a licence, or who holds the rights", dict(map(_count, licences.most_common(12))))


def _examples(findings: Findings, kinds: Sequence[str]) -> list[tuple[Cell | Mark, ...]]:
    """Return the documents that hold most of each kind, with a piece around it."""
    rows: list[tuple[Cell | Mark, ...]] = []
    for kind in kinds:
        holders = [document for document in findings.documents if kind in document.found]
        for document in sorted(holders, key=lambda d: (-d.found[kind], d.source))[:3]:
            light = "RED" if kind in SECRETS else "UNSPECIFIED"
            around = findings.scan.excerpt(document, kind)
            rows.append((Mark(kind.replace("_", " "), light), document.source, document.found[kind], around))
    return rows


def honesty(report: Panels, result: pb.Assessment, findings: Findings) -> None:
    """Add what would make an evaluation on the held-out part lie."""
    report.heading("Is an evaluation on it honest?")
    report.points(f"{measure.interpretation}." for measure in result.measures if measure.axis == "honesty")
    known = sorted(
        (d for d in findings.documents if d.known_share > 0), key=lambda d: (-d.known_share * d.tokens, d.source)
    )
    if known:
        report.marked_table(
            ["held-out document", "tokens", "stands in training text"],
            [(d.source, d.tokens, _heat(d.known_share)) for d in known[:10]],
        )


def tokenizer(report: Panels, findings: Findings) -> None:
    """Add bytes per token by format, and the words that the tokenizer breaks up."""
    report.heading("Does the tokenizer fit?")
    fit = {
        name: sum(d.bytes for d in members) / max(sum(d.tokens for d in members), 1)
        for name, members in _by_format(findings).items()
    }
    report.bars("Bytes of text per token; more is better", fit)
    if findings.broken:
        report.table(
            ["frequent words of more than three tokens", "tokens", "times in the sample"], findings.broken[:_ROWS]
        )


def source_name(source: str) -> str:
    """Return how a source is called in a table."""
    folder = source.removesuffix("*").rstrip("/")
    small = f"(small folders in {folder})" if folder else "(small folders)"
    return "(at the top)" if source == "." else small if source.endswith("*") else source


def _by_format(findings: Findings) -> dict[str, list[Scanned]]:
    """Return the documents of the most frequent formats, and the rest."""
    groups: dict[str, list[Scanned]] = defaultdict(list)
    names = [name for name, _ in Counter(d.format for d in findings.documents).most_common(_FORMATS - 1)]
    for document in findings.documents:
        groups[document.format if document.format in names else "other"].append(document)
    return {name: groups[name] for name in (*names, "other") if name in groups}


def _share_outside(rule: Rule, members: Sequence[Scanned]) -> float:
    return sum(not rule.low <= getattr(d.quality, rule.measure) <= rule.high for d in members) / max(len(members), 1)


def _share_with(members: Sequence[Scanned], place: int) -> float:
    return sum(document.structure[place] > 0 for document in members) / len(members)


def _heat(share: float) -> Heat:
    return Heat(f"{share:.0%}", share)


def _plain(share: float) -> Heat:
    return Heat(f"{share:.0%}", share, plain=True)


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}" if rate else ""


def _floats(point: tuple[int, int]) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _count(item: tuple[str, int]) -> tuple[str, float]:
    return item[0], float(item[1])
