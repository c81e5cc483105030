"""Distributions of a version, as JSON for programs and as a report for the data's owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from bessemer.api.data.v1.dataset_pb2 import ReasonCount, SplitCounts
from bessemer.artifacts.manifest import JSON
from bessemer.artifacts.report import Report
from bessemer.kernel.ids import id_of

from data_svc.domain.decoding import REPLACED_SHARE_MAX
from data_svc.domain.personal_data import KINDS
from data_svc.domain.reasons import EXPLANATIONS, KEPT
from data_svc.domain.recipes import Recipe
from data_svc.domain.terms import TERMS
from data_svc.worker.decontamination import suites_of
from data_svc.worker.documents import Documents
from data_svc.worker.rejections import Rejections
from data_svc.worker.web_rules import Broken, count_web_rules

__all__ = ["count_terms", "histogram", "page", "text_profile", "title_of"]

_EXAMPLES = 20
_CAPTIONS = {
    "encoding": "Kept with over 0.5 % of characters lost, or read in the wrong encoding",
    "license": "Kept, by the licence that their owner states",
    "consent": "Kept, by what their owner allows",
    "retain_until": "Kept, by the last day on which they may be used",
    "personal_data": "Documents that came with personal data or secrets in them, by kind",
    "evaluation_overlap": "Kept although they share a few words in a row with an evaluation suite, by suite",
}
_SIZES = [0.0, *(float(base * 10**power) for power in range(1, 8) for base in (1, 2, 5))]
_SHARES = [number / 20 for number in range(21)]
_WORD_LENGTHS = [float(number) for number in range(16)]
_MEASURES: tuple[tuple[str, Sequence[float]], ...] = (  # `words` and what follows are QualityMeasures
    ("repeated_line_share", _SHARES),
    ("repeated_ngram_share", _SHARES),
    ("letter_share", _SHARES),
    ("words", _SIZES),
    ("mean_word_length", _WORD_LENGTHS),
    ("letter_token_share", _SHARES),
    ("duplicate_line_character_share", _SHARES),
    ("duplicate_5gram_share", _SHARES),
    ("punctuated_line_share", _SHARES),
    ("short_line_share", _SHARES),
)
_SHOWN_AS = {"repeated_ngram_share": "repeated_run_share"}


def histogram(measure: str, edges: Sequence[float], values: npt.ArrayLike) -> dict[str, JSON]:
    """Return a histogram; the last bin takes everything above, and empty bins at the end are left out."""
    places = np.searchsorted(edges[1:-1], np.asarray(values, np.float64), side="right")
    counts = np.bincount(places, minlength=1).tolist()
    return {"measure": measure, "edges": list(edges[: len(counts) + 1]), "counts": counts}


def text_profile(documents: Documents, broken: Broken) -> dict[str, JSON]:
    """Return what `profile.json` holds, in the form of the message `DatasetProfile`; `broken` as of `broken_rules`."""
    categories: Counter[str] = Counter()
    for name in ("format", "language", "split"):
        for count in documents.table[name].value_counts().to_pylist():
            categories[f"{name}/{count['values']}"] += count["counts"]
    categories.update(count_terms(documents))
    if damaged := np.count_nonzero(documents.damage > REPLACED_SHARE_MAX):
        categories["encoding/damaged"] = int(damaged)
    held = np.count_nonzero(documents.annotation("personal_data"), axis=0).tolist()
    categories.update({f"personal_data/{kind}": count for kind, count in zip(KINDS, held, strict=True) if count})
    categories.update({f"evaluation_overlap/{id_of(suite)}": count for suite, count in suites_of(documents).items()})
    categories.update({f"web_rule/{rule}": count for rule, count in count_web_rules(broken).items()})
    histograms = [
        histogram("document_characters", _SIZES, documents.numbers("characters")),
        histogram("document_tokens", _SIZES, documents.numbers("tokens")),
        *(histogram(_SHOWN_AS.get(name, name), edges, documents.annotation(name)) for name, edges in _MEASURES),
    ]
    if "accept_probability" in documents.table.column_names:
        histograms.append(histogram("accept_probability", _SHARES, documents.table["accept_probability"].to_numpy()))
    return {"histograms": histograms, "categories": dict(sorted(categories.items()))}


def title_of(title: str, recipe: Recipe) -> str:
    """Return the title of a report on what a recipe draws."""
    return title if recipe.sample_fraction >= 1 else f"{title} of a sample: {recipe.sample_fraction:g} of the files"


def count_terms(documents: Documents) -> Counter[str]:
    """Return how many documents came with which licence, consent and last day of use."""
    found = [(name, row) for name in TERMS for row in documents.table[name].value_counts().to_pylist()]
    return Counter({f"{name}/{row['values']}": row["counts"] for name, row in found if row["values"]})


def page(
    title: str,
    reasons: Sequence[ReasonCount],
    splits: Sequence[SplitCounts],
    *,
    profile: dict[str, JSON],
    rejections: Rejections,
    show: Callable[[Report], None] = lambda _: None,
) -> str:
    """Return the report: what was delivered, what was kept and why not the rest, and what the kept looks like.

    `show` adds what only this kind of version has to tell.
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
    show(report)
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


def _examples(report: Report, rejections: Rejections) -> None:
    chosen = rejections.examples(_EXAMPLES)
    if chosen:
        report.heading("Examples of what was not used")
        report.table(
            ["source", "reason", "detail", "bytes"], [(r.source, r.reason, r.detail, r.size_bytes) for r in chosen]
        )
