"""Figures by axis, each with its threshold, its judgement in words, a histogram and the worst documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from bessemer.api.data.v1 import assessment_pb2 as pb
from bessemer.api.data.v1.dataset_service_pb2 import Histogram

from data_svc.domain.advice import Light, in_words
from data_svc.domain.personal_data import PII, SECRETS
from data_svc.domain.quality_rules import MEANINGS, RULES, Rule
from data_svc.domain.reasons import KEPT, Reason
from data_svc.domain.source_verdicts import PERSONAL_DATA_PER_MB_MAX
from data_svc.worker.assessment_counts import COPIES, Findings
from data_svc.worker.assessment_scan import PHRASE_WORDS, REPEATED, RUN_WORDS, Scanned
from data_svc.worker.profile import histogram
from data_svc.worker.topics import type_token_curve

__all__ = ["edges_of", "is_repetition", "light_of", "measures_of"]

_WORST = 3
_SHARES = [number / 20 for number in range(21)]
_SIZES = [0.0, *(float(base * 10**power) for power in range(1, 7) for base in (1, 2, 5))]
_SMALL = [float(number) for number in range(16)]
_FAILURES = (
    *(Reason.PARSE_FAILED, Reason.PARSE_TIMEOUT, Reason.PARSE_TRUNCATED, Reason.ENCRYPTED, Reason.EMPTY),
    *(Reason.ENCODING_DAMAGED, Reason.UNSUPPORTED_FORMAT, Reason.ROW_INVALID),
)
# Judgement, from the two sides of what is comfortable: below the first green, below the second amber.
_RULE_LIMITS = (0.05, 0.3)
_FAILURE_LIMITS = (0.05, 0.25)
_REPEATED_LIMITS = (0.2, 0.5)
_HELDOUT_KNOWN_LIMITS = (0.1, 0.3)
# Fewer held-out documents than this leave every comparison of two models within its noise.
HELDOUT_DOCUMENTS_MIN = 30
# Judgement: of twenty documents fewer than one says something of its own; of a hundred.
_SAMENESS_LIMITS = (0.95, 0.99)
# A tokenizer fits when it spends few pieces on words; English on its own tokenizer takes 4 to 4.5 bytes per token.
_BYTES_PER_TOKEN_MIN = 3.0
_BROKEN_LIMITS = (0.03, 0.1)
EXTENSION_TOKENS_MIN = 50_000_000


def light_of(value: float, limits: tuple[float, float]) -> Light:
    """Return green up to the first limit, amber up to the second, else red."""
    return Light.GREEN if value <= limits[0] else Light.AMBER if value <= limits[1] else Light.RED


def edges_of(measure: str) -> Sequence[float]:
    """Return the edges of a histogram that suits a measure of quality."""
    if measure.endswith("_share"):
        return _SHARES
    return _SIZES if measure in {"words", "sentences", "characters", "tokens"} else _SMALL


def measures_of(findings: Findings, context_length: int, novelty_nats: float | None) -> list[pb.Measure]:
    """Return all figures, axis by axis."""
    return [
        *_quality(findings),
        *_redundancy(findings),
        *_volume(findings),
        *_structure(findings, context_length),
        *_variety(findings),
        *_safety(findings),
        *_honesty(findings),
        *_tokenizer(findings),
        _novelty(novelty_nats),
    ]


def _measure(
    name: str, unit: str, value: float | None, light: Light, text: str, *, threshold: float | None = None
) -> pb.Measure:
    axis, _, name = name.partition("/")
    return pb.Measure(
        axis=axis,
        name=name,
        unit=unit,
        value=value,
        light=f"LIGHT_{light}",
        interpretation=text,
        threshold=threshold,
    )


def _with_documents(
    measure: pb.Measure,
    findings: Findings,
    value: Callable[[Scanned], float],
    edges: Sequence[float],
    *,
    lowest: bool = False,
    around: str = "",
) -> pb.Measure:
    """Add the histogram and the documents where a value is highest, or lowest."""
    shown = histogram(measure.name, edges, [value(document) for document in findings.documents])
    measure.histogram.CopyFrom(Histogram(**shown))  # type: ignore[arg-type] # a histogram's JSON is its message
    ordered = sorted(findings.documents, key=lambda d: (value(d) if lowest else -value(d), d.source))
    for document in ordered[:_WORST]:
        if value(document) or lowest:
            excerpt = findings.scan.excerpt(document, around)
            measure.worst.add(source=document.source, value=value(document), excerpt=excerpt)
    return measure


def is_repetition(rule: Rule) -> bool:
    """Say whether a rule is about text that a document repeats."""
    return "duplicate" in rule.measure or "repeated" in rule.measure


def _quality(findings: Findings) -> Iterator[pb.Measure]:
    fates = findings.fates
    failed = sum(fates[reason] for reason in _FAILURES)
    share = failed / max(fates.total(), 1)
    text = f"{in_words(failed)} of {in_words(fates.total())} delivered documents could not be read"
    yield _measure(
        "quality/unreadable_share", "share", share, light_of(share, _FAILURE_LIMITS), text, threshold=_FAILURE_LIMITS[0]
    )
    for rule in RULES:
        measure = _rule(findings, rule)
        if measure is not None:
            yield measure


def _rule(findings: Findings, rule: Rule) -> pb.Measure | None:
    """Return a rule's figure: the share of documents outside; None if there are none."""
    value = attrgetter(f"quality.{rule.measure}")
    outside = [d for d in findings.documents if not rule.low <= value(d) <= rule.high]
    if not outside:
        return None
    share = len(outside) / len(findings.documents)
    too_low = sum(value(d) < rule.low for d in outside) * 2 > len(outside)
    bound = rule.low if too_low else rule.high
    side = "below" if too_low else "above"
    # Repetition harms any model; the other rules describe web prose, which manuals, tables and code are not.
    light = light_of(share, _RULE_LIMITS)
    light = Light.AMBER if light is Light.RED and not is_repetition(rule) else light
    text = f"in {share:.0%} of documents {MEANINGS[rule.measure]} is {side} {bound:g}, where web corpora draw the line"
    measure = _measure(f"quality/{rule.name}", rule.measure, share, light, text, threshold=bound)
    around = REPEATED if is_repetition(rule) else ""
    return _with_documents(measure, findings, value, edges_of(rule.measure), lowest=too_low, around=around)


def _redundancy(findings: Findings) -> Iterator[pb.Measure]:
    fates = findings.fates
    for reason, name, words in zip(COPIES, ("exact", "near"), ("the same text", "nearly the same text"), strict=True):
        share = fates[reason] / max(fates.total(), 1)
        text = f"{in_words(fates[reason])} delivered documents hold {words} as another and were left out"
        light = light_of(share, _REPEATED_LIMITS)
        yield _measure(f"redundancy/{name}_copies", "share", share, light, text, threshold=_REPEATED_LIMITS[0])
    largest = findings.clusters[0] if findings.clusters else None
    size = len(largest.copies) + 1 if largest else 1
    text = f"{largest.source} was delivered {size} times" if largest else "no document was delivered twice"
    yield _measure("redundancy/largest_cluster", "documents", size, Light.GREEN, text)
    tokens = max(findings.tokens, 1)
    for words_, name in ((PHRASE_WORDS, "phrase_share"), (RUN_WORDS, "run_share")):
        value: Callable[[Scanned], float] = attrgetter(name)
        share = sum(value(d) * d.tokens for d in findings.documents) / tokens
        text = f"{share:.1%} of the kept text is runs of {words_} words that stood before: boilerplate, lists, quotes"
        light = light_of(share, _REPEATED_LIMITS)
        measure = _measure(f"redundancy/{name}", "share", share, light, text, threshold=_REPEATED_LIMITS[0])
        yield _with_documents(measure, findings, value, _SHARES)
    unique = findings.unique_tokens / max(findings.delivered_tokens, 1)
    text = f"{in_words(findings.unique_tokens)} unique tokens of {in_words(findings.delivered_tokens)} delivered"
    light = light_of(1 - unique, _REPEATED_LIMITS)
    yield _measure("redundancy/unique_share", "share", unique, light, text, threshold=1 - _REPEATED_LIMITS[0])


def _volume(findings: Findings) -> Iterator[pb.Measure]:
    text = f"{in_words(findings.tokens)} tokens in {in_words(len(findings.documents))} documents"
    measure = _measure("volume/tokens", "tokens", findings.tokens, Light.UNSPECIFIED, text)
    yield _with_documents(measure, findings, lambda d: d.tokens, _SIZES)
    fates = findings.fates
    share = fates[KEPT] / max(fates.total(), 1)
    text = f"{in_words(fates[KEPT])} of {in_words(fates.total())} delivered documents are used"
    yield _measure("volume/kept_share", "share", share, light_of(1 - share, _REPEATED_LIMITS), text, threshold=0.8)
    top = max(findings.documents, key=lambda d: d.tokens)
    share = top.tokens / max(findings.tokens, 1)
    text = f"{top.source} alone is {share:.0%} of the tokens"
    yield _measure("volume/largest_document_share", "share", share, light_of(share, (0.1, 0.4)), text, threshold=0.1)


def _structure(findings: Findings, context_length: int) -> Iterator[pb.Measure]:
    documents = findings.documents
    for name in ("headings", "list_items", "table_rows", "code_lines"):
        share = sum(getattr(d.structure, name) > 0 for d in documents) / len(documents)
        text = f"{share:.0%} of documents have {name.replace('_', ' ')}"
        yield _measure(f"structure/{name}", "share", share, Light.UNSPECIFIED, text)
    pairs = sum(d.structure.pairs for d in documents)
    text = f"{in_words(pairs)} questions with an answer below them, or turns of a dialogue"
    measure = _measure("structure/pairs", "pairs", pairs, Light.UNSPECIFIED, text)
    yield _with_documents(measure, findings, lambda d: d.structure.pairs, _SIZES)
    derivable = findings.scan.derivable_pairs
    text = f"about {in_words(derivable)} facts that documents state about themselves, as questions"
    yield _measure("structure/derivable_pairs", "pairs", derivable, Light.UNSPECIFIED, text)
    long = sum(d.tokens for d in documents if d.tokens > context_length) / max(findings.tokens, 1)
    text = f"{long:.0%} of the tokens stand in documents longer than the {context_length:,} that a model reads at once"
    yield _measure("structure/over_context_share", "share", long, light_of(long, (0.5, 1.0)), text, threshold=0.5)


def _variety(findings: Findings) -> Iterator[pb.Measure]:
    topics = findings.topics
    if topics.topics:
        largest = len(topics.topics[0].members) / sum(len(topic.members) for topic in topics.topics)
        share = topics.effective_number / topics.compared
        text = f"{topics.compared} documents are as varied as {topics.effective_number:.0f} without a word in common"
        light = light_of(1 - share, _SAMENESS_LIMITS)
        yield _measure("variety/unlike_share", "share", share, light, text, threshold=1 - _SAMENESS_LIMITS[0])
        text = f"the largest topic ({', '.join(topics.topics[0].words)}) has {largest:.0%} of the documents"
        yield _measure(
            "variety/largest_topic_share", "share", largest, light_of(largest, (0.5, 0.8)), text, threshold=0.5
        )
    curve = type_token_curve(findings.scan.word_hashes)
    (before, old), (after, new) = curve[-2:]
    growth = 1000 * (new - old) / max(after - before, 1)
    text = f"the last {in_words(after - before)} words read brought {growth:.1f} new ones per thousand"
    yield _measure("variety/new_words", "per 1,000 words", growth, Light.UNSPECIFIED, text)


def _safety(findings: Findings) -> Iterator[pb.Measure]:
    megabytes = max(findings.bytes, 1) / 1e6
    for kind in (*SECRETS, *PII):
        times = sum(d.found.get(kind, 0) for d in findings.documents)
        if not times:
            continue
        holders = sum(kind in d.found for d in findings.documents)
        limits = (0.0, 0.0) if kind in SECRETS else (PERSONAL_DATA_PER_MB_MAX, 10 * PERSONAL_DATA_PER_MB_MAX)
        text = f"{in_words(times)} found in {in_words(holders)} documents"
        light = light_of(times / megabytes, limits)
        measure = _measure(f"safety/{kind}", "per MB", times / megabytes, light, text, threshold=limits[0])
        yield _with_documents(measure, findings, lambda d, kind=kind: d.found.get(kind, 0), _SIZES, around=kind)  # type: ignore[misc] # bound per kind
    secrets = sum(any(kind in d.found for kind in SECRETS) for d in findings.documents)
    text = f"{in_words(secrets)} documents hold a key, a token or a password" if secrets else "no secrets were found"
    yield _measure("safety/secrets", "documents", secrets, light_of(secrets, (0, 0)), text, threshold=0)
    named = sum(bool(d.licences) for d in findings.documents) / len(findings.documents)
    text = f"{named:.0%} of documents name a licence or who holds the rights; of the others ask who owns them"
    yield _measure("safety/licence_named", "share", named, Light.UNSPECIFIED, text)
    restricted = sum(counts.restricted_documents for counts in findings.sources.values())
    text = f"{in_words(restricted)} documents say they are confidential"
    yield _measure("safety/restricted", "documents", restricted, light_of(restricted, (0, 0)), text, threshold=0)


def _honesty(findings: Findings) -> Iterator[pb.Measure]:
    hidden = findings.fates[Reason.CONTAMINATED]
    text = f"{in_words(hidden)} delivered documents hold cases of an evaluation suite and were left out"
    yield _measure("honesty/contaminated", "documents", hidden, light_of(hidden, (0, 1e9)), text, threshold=0)
    heldout = [d for d in findings.documents if d.split == "heldout"]
    tokens = sum(d.tokens for d in heldout)
    share = tokens / max(findings.tokens, 1)
    light = Light.GREEN if len(heldout) >= HELDOUT_DOCUMENTS_MIN else Light.AMBER
    text = f"{len(heldout):,} documents with {share:.0%} of the tokens are held out"
    if light is Light.AMBER:
        text += f"; fewer than {HELDOUT_DOCUMENTS_MIN} documents cannot tell two models apart"
    yield _measure("honesty/heldout_documents", "documents", len(heldout), light, text, threshold=HELDOUT_DOCUMENTS_MIN)
    known = sum(d.known_share * d.tokens for d in heldout) / max(tokens, 1)
    text = f"{known:.1%} of the held-out text is runs of {PHRASE_WORDS} words that stand in training text too"
    light = light_of(known, _HELDOUT_KNOWN_LIMITS)
    measure = _measure("honesty/heldout_known_share", "share", known, light, text, threshold=_HELDOUT_KNOWN_LIMITS[0])
    yield _with_documents(measure, findings, attrgetter("known_share"), _SHARES)
    leaks = findings.scan.leaks
    text = f"{len(leaks):,} pairs of a held-out and a training document look nearly the same"
    measure = _measure("honesty/leaks", "pairs", len(leaks), light_of(len(leaks), (0, 5)), text, threshold=0)
    for first, second, alike in leaks[:_WORST]:
        of, other = findings.documents[second], findings.documents[first]
        measure.worst.add(source=of.source, value=alike, excerpt=f"like {other.source}")
    yield measure


def _tokenizer(findings: Findings) -> Iterator[pb.Measure]:
    value = findings.bytes_per_token
    text = f"{value:.2f} bytes of text per token; a tokenizer at home in a language takes 4 or more of prose"
    light = Light.GREEN if value >= _BYTES_PER_TOKEN_MIN else Light.AMBER
    measure = _measure("tokenizer/bytes_per_token", "bytes", value, light, text, threshold=_BYTES_PER_TOKEN_MIN)
    yield _with_documents(measure, findings, lambda d: d.bytes / max(d.tokens, 1), _SMALL, lowest=True)
    if findings.broken is None:
        text = "not measured: name the base model, whose tokenizer tells"
        yield _measure("tokenizer/broken_words", "share", None, Light.UNSPECIFIED, text)
        return
    share = findings.broken_share
    few = findings.unique_tokens < EXTENSION_TOKENS_MIN
    verdict = f"leave the vocabulary as it is: an extension wants {in_words(EXTENSION_TOKENS_MIN)} unique tokens"
    verdict = verdict if few else "an extended vocabulary is worth a try if it saves a tenth of the tokens"
    text = f"{share:.1%} of words take more than three tokens; {verdict}"
    light = light_of(share, _BROKEN_LIMITS)
    yield _measure("tokenizer/broken_words", "share", share, light, text, threshold=_BROKEN_LIMITS[0])


def _novelty(novelty_nats: float | None) -> pb.Measure:
    if novelty_nats is None:
        text = (
            "not measured: run the base model over this version's held-out documents and over general text "
            "(bessemer eval suite --grader perplexity --heldout-text), and give the difference"
        )
        return _measure("coverage/novelty", "nats per token", None, Light.UNSPECIFIED, text)
    text = f"the base model finds it {novelty_nats:.2f} nats per token harder than general text"
    return _measure("coverage/novelty", "nats per token", novelty_nats, Light.UNSPECIFIED, text)
