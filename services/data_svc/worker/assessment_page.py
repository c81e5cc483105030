"""The report on an assessment for those who own the data: the verdict first, then what it rests on."""

from __future__ import annotations

from collections import Counter

from bessemer.api.data.v1 import assessment_pb2 as pb
from bessemer.artifacts.report_panels import Lamp, Mark, Panels

from data_svc.domain.advice import in_words
from data_svc.domain.personal_data import PII, SECRETS
from data_svc.domain.reasons import EXPLANATIONS, KEPT
from data_svc.worker import assessment_sections as sections
from data_svc.worker.assessment_counts import NO_TEXT, Findings

__all__ = ["page"]

_GOALS = {
    "PRETRAIN": "Pre-train a model of your own, from nothing",
    "CPT": "Continue pre-training: teach a base model your subject and language",
    "SFT": "Fine-tune: teach a model to answer questions",
    "PREFERENCE": "Tune on preferences: teach it which of two answers is better",
    "RL": "Reinforce: let it practise tasks that a program can check",
    "COLLECT": "Collect more data first",
}
_DEEDS = {
    "unreadable_share": "see the reasons below; scans need text recognition, old formats a conversion",
    "near_copies": "nothing to do; deliver one format of each manual to see clearer figures",
    "unique_share": "more documents of other content help, more copies do not",
    "phrase_share": "cut headers, footers and templates",
    "run_share": "cut headers, footers and templates",
    "kept_share": "see below what was not used and why",
    "largest_document_share": "the model will sound like this document; is that what you want?",
    "over_context_share": "long documents are cut into pieces; nothing to do, unless answers need the whole",
    "unlike_share": "more of the same adds little: add documents of other kinds",
    "largest_topic_share": "add documents on the other topics",
    "heldout_known_share": "the same content is in both halves, perhaps in another format: remove one of the copies, "
    "or scores on the held-out part will be too good",
    "heldout_documents": "deliver more documents, or evaluate on a suite of your own",
    "leaks": "remove one of each pair",
    "contaminated": "nothing to do; they are left out",
    "secrets": "change them where they are used, and import again with redact = secrets",
    "restricted": "ask who owns them before anything is trained",
    "bytes_per_token": "try a base model that knows the language",
    "broken_words": "list the terms below when you choose a base model",
}
_VERDICTS = {
    "USE": ("use", "GREEN"),
    "USE_AFTER_FIXES": ("use after fixes", "AMBER"),
    "HOLD_OUT": ("hold out", "RED"),
    "REJECT": ("reject", "RED"),
}
_WORRIES_MAX = 8
_MEANINGS = {
    "SECRETS": "keys, tokens or passwords; redact them and change them where they are used",
    "PERSONAL_DATA": "more than a hundred addresses or numbers per MB; redact them with the recipe's redact",
    "BOILERPLATE": "a third or more stands elsewhere; cut templates and second copies in other formats",
    "RESTRICTED_LICENCE": "says that it is confidential; ask its owner",
    "CONTAMINATED": "holds cases of an evaluation suite",
}


def page(name: str, result: pb.Assessment, findings: Findings, context_length: int) -> str:
    """Return the report of the version called `name` as one HTML file."""
    parts = name.split("/")
    report = Panels("What these documents are worth", f"{parts[3]}/{parts[5]} of project {parts[1]}")
    _verdict(report, result, findings)
    _worries(report, result)
    _waterfall(report, findings)
    _sources(report, result)
    _composition(report, findings)
    sections.quality(report, findings)
    sections.redundancy(report, findings)
    _repetition(report, result)
    sections.structure(report, findings, context_length)
    sections.variety(report, findings)
    sections.safety(report, findings)
    sections.honesty(report, result, findings)
    sections.tokenizer(report, findings)
    _everything(report, result)
    return report.html()


def method_name(advice: pb.Advice) -> str:
    """Return an advice's method, such as CPT."""
    return pb.AdviceMethod.Name(advice.method).removeprefix("ADVICE_METHOD_")


def light_name(light: int) -> str:
    """Return a light, such as GREEN."""
    return pb.Light.Name(light).removeprefix("LIGHT_")


def _verdict(report: Panels, result: pb.Assessment, findings: Findings) -> None:
    first, second = result.advice[0], result.advice[1]
    report.heading("Verdict")
    report.paragraph(
        f"Advice: {_GOALS[method_name(first)]}. Runner-up: {_GOALS[method_name(second)]}. "
        f"What would change it: {first.flip}."
    )
    report.numbers(
        {
            "tokens": in_words(result.tokens),
            "unique tokens": in_words(result.unique_tokens),
            "unique of delivered": f"{result.unique_share:.0%}",
            "documents used": f"{len(findings.documents):,} of {findings.fates.total():,}",
        }
    )
    goals = [advice for advice in result.advice if method_name(advice) != "COLLECT"]
    report.lights(
        Lamp(
            _GOALS[method_name(a)], light_name(a.light), f"{a.why[0].upper()}{a.why[1:]}.", f"To change that: {a.flip}."
        )
        for a in goals
    )
    report.paragraph(
        "Green: the data is enough. Amber: it depends on something that is not measured or reviewed yet. Red: not with "
        "this data. Grey: nothing is known. A token is a piece of a word, about three quarters of one in English prose."
    )


def _worries(report: Panels, result: pb.Assessment) -> None:
    """List what is red, then what is amber; of the rules of web corpora the reddest, of secrets their sum."""
    order = {"RED": 0, "AMBER": 1}
    lit = sorted((m for m in result.measures if light_name(m.light) in order), key=lambda m: order[light_name(m.light)])
    rules = sorted((m for m in lit if "/" in m.name and light_name(m.light) == "RED"), key=lambda m: -m.value)
    singles = [m for m in lit if "/" not in m.name and m.name not in SECRETS]
    found = sorted([*rules[:1], *singles], key=lambda m: order[light_name(m.light)])
    report.heading("What to look at first")
    if not found:
        report.paragraph("Nothing stands out.")
    report.points((Mark(m.axis, light_name(m.light)), _worry(m)) for m in found[:_WORRIES_MAX])


def _worry(measure: pb.Measure) -> str:
    deed = _DEEDS.get(measure.name, "")
    deed = "redact it with the recipe's redact" if measure.axis == "safety" and not deed else deed
    text = f"{measure.name.replace('_', ' ')}: " if measure.axis == "safety" and measure.name in PII else ""
    return f"{text}{measure.interpretation}." + (f" {deed[0].upper()}{deed[1:]}." if deed else "")


def _waterfall(report: Panels, findings: Findings) -> None:
    """Draw tokens from delivered to unique; those of what was not kept are estimated from its bytes."""
    lost = {r: size / findings.bytes_per_token for r, size in findings.lost_bytes.items() if r not in NO_TEXT}
    steps = {reason: size for reason, size in sorted(lost.items(), key=lambda item: -item[1]) if size >= 1}
    report.heading("From delivered to unique")
    labels = {reason: f"{reason.lower().replace('_', ' ')} ({findings.fates[reason]:,})" for reason in steps}
    shown = {labels[reason]: size for reason, size in steps.items()}
    unique = findings.unique_tokens
    ends = {
        "used": float(findings.tokens),
        "stands elsewhere in it": float(findings.tokens - unique),
        "unique": float(unique),
    }
    report.waterfall(
        "Tokens; of documents that are not used an estimate, their number in brackets",
        ("delivered text", findings.tokens + sum(steps.values())),
        {**shown, **ends},
        ("used", "unique"),
    )
    silent = sum(findings.fates[reason] for reason in NO_TEXT)
    if silent:
        report.paragraph(f"{silent:,} more files gave no text.")
    rows = [(r, n, EXPLANATIONS.get(r, "")) for r, n in findings.fates.most_common() if r != KEPT]
    if rows:
        report.table(["not used", "documents", "meaning"], rows)


def _sources(report: Panels, result: pb.Assessment) -> None:
    report.heading("Source by source")
    rows = []
    for each in result.sources:
        word, light = _VERDICTS[pb.SourceVerdict.Name(each.verdict).removeprefix("SOURCE_VERDICT_")]
        stake = each.tokens_at_stake if each.reasons else None
        because = ", ".join(each.reasons).lower().replace("_", " ")
        rows.append(
            (
                sections.source_name(each.source),
                each.delivered_documents,
                each.kept_documents,
                each.tokens,
                Mark(word, light),
                because,
                stake,
            )
        )
    report.marked_table(["source", "delivered", "used", "tokens", "verdict", "because of", "tokens at stake"], rows)
    named = {reason for each in result.sources for reason in each.reasons}
    report.points(
        f"{reason.lower().replace('_', ' ')}: {_MEANINGS.get(reason) or EXPLANATIONS.get(reason, '')}"
        for reason in sorted(named)
    )


def _composition(report: Panels, findings: Findings) -> None:
    report.heading("What it consists of")
    for title in ("format", "language"):
        tokens: Counter[str] = Counter()
        for document in findings.documents:
            tokens[getattr(document, title) or "unknown"] += document.tokens
        report.bars(f"Tokens by {title}", {name: float(n) for name, n in tokens.most_common(10)})


def _repetition(report: Panels, result: pb.Assessment) -> None:
    report.heading("What repeating it is worth", 3)
    report.paragraph(
        "Reading the same text again teaches less each time: four passes are worth nearly as much as four times the "
        "text, sixteen far less (Muennighoff et al. 2023)."
    )
    report.table(
        ["passes", "worth so many unique tokens", "gain over one pass"],
        [
            (r.epochs, r.effective_tokens, f"{r.effective_tokens / max(result.unique_tokens, 1):.2f} times")
            for r in result.repetition
        ],
    )


def _everything(report: Panels, result: pb.Assessment) -> None:
    report.heading("Not measured")
    missing = [m for m in result.measures if not m.HasField("value")]
    report.points(f"{m.name.replace('_', ' ')}: {m.interpretation.removeprefix('not measured: ')}." for m in missing)
    report.points(
        [
            "whether the content is true, current and yours to use: only people who know it can say.",
            "names of people: personal data is found by its form, such as addresses and numbers.",
        ]
    )
    report.heading("All figures")
    report.fold(f"{len(result.measures)} figures with their thresholds")
    report.marked_table(
        ["axis", "measure", "value", "unit", "not green from", "light"],
        [
            (
                m.axis,
                m.name,
                m.value if m.HasField("value") else None,
                m.unit,
                m.threshold if m.HasField("threshold") else None,
                Mark(light_name(m.light).lower().replace("unspecified", "-"), light_name(m.light)),
            )
            for m in result.measures
        ],
    )
    report.unfold()
