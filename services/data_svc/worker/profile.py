"""Distributions of a version, as JSON for programs and as a report for the data's owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from bessemer.api.data.v1.dataset_pb2 import ReasonCount, SplitCounts
from bessemer.artifacts.manifest import JSON
from bessemer.artifacts.report import Report
from bessemer.kernel.ids import id_of

from data_svc.domain.reasons import EXPLANATIONS, KEPT, Reason, Rejection
from data_svc.worker.corpus import Document
from data_svc.worker.web_rules import count_web_rules, show_web_rules

__all__ = ["histogram", "page", "text_profile"]

_EXAMPLES = 20
_CAPTIONS = {
    "personal_data": "Documents that came with personal data or secrets in them, by kind",
    "evaluation_overlap": "Kept although they share a few words in a row with an evaluation suite, by suite",
}
_SIZES = [0.0, *(float(base * 10**power) for power in range(1, 8) for base in (1, 2, 5))]
_SHARES = [number / 20 for number in range(21)]
_WORD_LENGTHS = [float(number) for number in range(16)]
_MEASURES: tuple[tuple[str, Sequence[float], Callable[[Document], float]], ...] = (
    ("document_characters", _SIZES, lambda document: document.measures.characters),
    ("document_tokens", _SIZES, lambda document: document.num_tokens),
    ("repeated_line_share", _SHARES, lambda document: document.measures.repeated_line_share),
    ("repeated_run_share", _SHARES, lambda document: document.measures.repeated_ngram_share),
    ("letter_share", _SHARES, lambda document: document.measures.letter_share),
    ("words", _SIZES, lambda document: document.quality.words),
    ("mean_word_length", _WORD_LENGTHS, lambda document: document.quality.mean_word_length),
    ("letter_token_share", _SHARES, lambda document: document.quality.letter_token_share),
    ("duplicate_line_character_share", _SHARES, lambda document: document.quality.duplicate_line_character_share),
    ("duplicate_5gram_share", _SHARES, lambda document: document.quality.duplicate_5gram_share),
    ("punctuated_line_share", _SHARES, lambda document: document.quality.punctuated_line_share),
    ("short_line_share", _SHARES, lambda document: document.quality.short_line_share),
)


def histogram(measure: str, edges: Sequence[float], values: Sequence[float]) -> dict[str, JSON]:
    """Return a histogram; the last bin takes everything above, and empty bins at the end are left out."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        at = next((at for at, (_, high) in enumerate(pairwise(edges)) if value < high), len(counts) - 1)
        counts[at] += 1
    used = max((at for at, count in enumerate(counts) if count), default=0) + 1
    return {"measure": measure, "edges": list(edges[: used + 1]), "counts": counts[:used]}


def text_profile(documents: Sequence[Document]) -> dict[str, JSON]:
    """Return what `profile.json` holds, in the form of the message `DatasetProfile`."""
    categories: Counter[str] = Counter()
    for document in documents:
        categories[f"format/{document.format}"] += 1
        categories[f"language/{document.language}"] += 1
        categories[f"split/{document.split}"] += 1
        categories.update(f"personal_data/{kind}" for kind in document.personal_data)
        categories.update(f"evaluation_overlap/{id_of(overlap.suite)}" for overlap in document.overlaps)
    categories.update({f"web_rule/{rule}": count for rule, count in count_web_rules(documents).items()})
    histograms = [histogram(name, edges, [value(d) for d in documents]) for name, edges, value in _MEASURES]
    return {"histograms": histograms, "categories": dict(sorted(categories.items()))}


def page(
    title: str,
    reasons: Sequence[ReasonCount],
    splits: Sequence[SplitCounts],
    *,
    profile: dict[str, JSON],
    rejections: Sequence[Rejection],
    documents: Sequence[Document] = (),
) -> str:
    """Return the report: what was delivered, what was kept and why not the rest, and what the kept looks like.

    `documents` are the kept ones of a text version.
    """
    report = Report(title)
    delivered = sum(count.documents for count in reasons)
    kept = next((count.documents for count in reasons if count.reason == KEPT), 0)
    report.numbers({"delivered": delivered, "kept": kept, **{f"{s.split} rows": s.rows for s in splits}})
    report.heading("From delivered to kept")
    report.bars("Documents by what became of them", {c.reason: float(c.documents) for c in reasons}, emphasis=KEPT)
    report.table(
        ["fate", "documents", "bytes", "meaning"],
        [(c.reason, c.documents, c.bytes, EXPLANATIONS.get(c.reason, "")) for c in reasons],
    )
    report.heading("Splits")
    report.table(
        ["split", "documents", "rows", "tokens", "bytes"],
        [(s.split, s.documents, s.rows, s.tokens or None, s.bytes) for s in splits],
    )
    _categories(report, profile)
    for shown in profile.get("histograms", []) or []:  # type: ignore[union-attr]
        report.histogram(shown["measure"].replace("_", " "), shown["edges"], shown["counts"])  # type: ignore[index,call-overload,union-attr,arg-type]
    show_web_rules(report, documents)
    _examples(report, rejections)
    return report.html()


def _categories(report: Report, profile: dict[str, JSON]) -> None:
    groups: dict[str, dict[str, float]] = {}
    categories = profile.get("categories")
    for name, count in categories.items() if isinstance(categories, dict) else ():
        group, _, value = name.partition("/")
        if group == "web_rule":  # shown per format
            continue
        groups.setdefault(group, {})[value or "unknown"] = float(str(count))
    report.heading("What it consists of")
    for group, values in groups.items():
        top = dict(sorted(values.items(), key=lambda item: (-item[1], item[0]))[:12])
        report.bars(_CAPTIONS.get(group, f"Kept, by {group}"), top)


def _examples(report: Report, rejections: Sequence[Rejection]) -> None:
    """Show examples of every reason in turn, so that a frequent one hides none."""
    by_reason: dict[Reason, list[Rejection]] = {}
    for rejection in sorted(rejections):
        by_reason.setdefault(rejection.reason, []).append(rejection)
    each = max(1, _EXAMPLES // max(len(by_reason), 1))
    chosen = [rejection for group in by_reason.values() for rejection in group[:each]][:_EXAMPLES]
    if chosen:
        report.heading("Examples of what was not used")
        report.table(
            ["source", "reason", "detail", "bytes"], [(r.source, r.reason, r.detail, r.size_bytes) for r in chosen]
        )
