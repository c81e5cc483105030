"""What to do with one source of documents, as a pure function of what was counted in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from data_svc.domain.personal_data import PII, SECRETS
from data_svc.domain.reasons import KEPT, Reason

__all__ = ["SourceCounts", "SourceJudgement", "Verdict", "judge_source"]


class Verdict(StrEnum):
    """What to do with a source."""

    USE = "USE"
    USE_AFTER_FIXES = "USE_AFTER_FIXES"
    HOLD_OUT = "HOLD_OUT"
    REJECT = "REJECT"


@dataclass
class SourceCounts:
    """What is known about a source; `fates` counts documents by reason, `kept` among them.

    `lost_bytes` is by reason, `found` counts personal data and secrets by kind.
    """

    fates: dict[str, int] = field(default_factory=dict)
    lost_bytes: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    tokens: int = 0
    repeated_tokens: float = 0.0
    restricted_documents: int = 0
    restricted_tokens: int = 0
    secret_tokens: int = 0
    personal_tokens: int = 0


@dataclass(frozen=True)
class SourceJudgement:
    """A verdict with its reasons and the tokens they concern."""

    verdict: Verdict
    reasons: tuple[str, ...]
    tokens_at_stake: int


# Judgement: below one usable document in twenty a source costs more reading than it gives.
USABLE_MIN = 0.05
# A person should look when there is more than one failure in twenty documents.
FAILURES_MAX = 0.05
# Judgement: one address per 100 kB is the foot of a manual; ten times as many is a directory of people.
PERSONAL_DATA_PER_MB_MAX = 100.0
# Judgement: when a third of the words stand elsewhere, templates are worth cutting first.
REPEATED_MAX = 1 / 3
# Judgement: single cases of an evaluation are left out, single confidential documents looked at; when more than one in
# twenty documents is either, the source is where evaluations come from, or not the company's to train on.
HELD_MIN = 0.05
_FAILURES = (
    *(Reason.PARSE_FAILED, Reason.PARSE_TIMEOUT, Reason.PARSE_TRUNCATED, Reason.ENCRYPTED, Reason.EMPTY),
    *(Reason.ENCODING_DAMAGED, Reason.UNSUPPORTED_FORMAT, Reason.ROW_INVALID, Reason.ARCHIVE_DAMAGED),
)
_COPIES = (Reason.EXACT_DUPLICATE, Reason.NEAR_DUPLICATE)


def judge_source(counts: SourceCounts, bytes_per_token: float) -> SourceJudgement:
    """Return what to do with a source.

    Copies are not held against it: what they copy is used.
    Units: `bytes_per_token` turns the bytes of what was lost into tokens.
    """
    delivered = sum(counts.fates.values())
    kept = counts.fates.get(KEPT, 0)
    copies = sum(counts.fates.get(reason, 0) for reason in _COPIES)
    lost = {reason: n for reason, n in counts.fates.items() if reason != KEPT and reason not in _COPIES}
    if delivered and (kept + copies) < USABLE_MIN * delivered:
        top = tuple(str(reason) for reason in sorted(lost, key=lambda reason: -lost[reason])[:3])
        text_bytes = sum(size for reason, size in counts.lost_bytes.items() if reason != Reason.BINARY)
        return SourceJudgement(Verdict.REJECT, top, round(text_bytes / bytes_per_token))
    held = {
        Reason.CONTAMINATED: (
            counts.fates.get(Reason.CONTAMINATED, 0),
            counts.lost_bytes.get(Reason.CONTAMINATED, 0) / bytes_per_token,
        ),
        "RESTRICTED_LICENCE": (counts.restricted_documents, counts.restricted_tokens),
    }
    held = {reason: found for reason, found in held.items() if found[0] > HELD_MIN * delivered}
    if held:
        return SourceJudgement(Verdict.HOLD_OUT, tuple(held), round(sum(tokens for _, tokens in held.values())))
    fixes = _fixes(counts, delivered, bytes_per_token)
    if fixes:
        return SourceJudgement(Verdict.USE_AFTER_FIXES, tuple(fixes), round(max(fixes.values())))
    return SourceJudgement(Verdict.USE, (), 0)


def _fixes(counts: SourceCounts, delivered: int, bytes_per_token: float) -> Mapping[str, float]:
    """Return what should be dealt with, each with the tokens that it concerns."""
    fixes: dict[str, float] = {}
    if any(counts.found.get(kind, 0) for kind in SECRETS):
        fixes["SECRETS"] = counts.secret_tokens
    if counts.restricted_documents:
        fixes["RESTRICTED_LICENCE"] = counts.restricted_tokens
    personal = sum(counts.found.get(kind, 0) for kind in PII)
    if personal * 1e6 > PERSONAL_DATA_PER_MB_MAX * counts.bytes:
        fixes["PERSONAL_DATA"] = counts.personal_tokens
    if counts.repeated_tokens > REPEATED_MAX * counts.tokens:
        fixes["BOILERPLATE"] = counts.repeated_tokens
    failed = {reason: counts.fates.get(reason, 0) for reason in _FAILURES if counts.fates.get(reason, 0)}
    if sum(failed.values()) > FAILURES_MAX * delivered:
        for reason in failed:
            fixes[str(reason)] = counts.lost_bytes.get(reason, 0) / bytes_per_token
    return fixes
