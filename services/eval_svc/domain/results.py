"""Results of single cases, and the score of a suite that they add up to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from eval_svc.config import CONFIDENCE, UNSCORED_SHARE_MAX
from eval_svc.domain.cases import Grader
from eval_svc.domain.statistics import proportion, ratio

__all__ = [
    "CaseResult",
    "Mark",
    "SuiteScore",
    "format_results",
    "parse_results",
    "safe_exp",
    "summarise",
    "why_invalid",
]


@dataclass(frozen=True, slots=True)
class Mark:
    """What a grader makes of an answer: a score of 0 to 1, with why it is low if that is known; None with why not."""

    score: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """How a model did on one case.

    Units: nll in nats, over `tokens` tokens that encode `bytes` bytes; `score` is 0 to 1, or for perplexity the
    perplexity of the case; it is None when the case could not be scored, and `unscored` says why. `error` says what was
    wrong with an answer that was scored, such as a program that never ended. `found_in` are the dataset versions of the
    model's training in which the case stands.
    """

    id: str
    cluster: str
    score: float | None
    output: str = ""
    target: str = ""
    prompt_preview: str = ""
    nll: float = 0.0
    tokens: int = 0
    bytes: int = 0
    unscored: str = ""
    error: str = ""
    found_in: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteScore:
    """The score of a suite with its interval."""

    score: float
    low: float
    high: float
    num_cases: int
    num_unscored: int
    tokens: int
    bits_per_byte: float


def summarise(results: Sequence[CaseResult], grader: Grader) -> SuiteScore:
    """Add up the results of a suite; at least one must be scored."""
    scored = [result for result in results if result.score is not None]
    clusters = [result.cluster for result in scored]
    tokens = sum(result.tokens for result in results)
    if grader is Grader.PERPLEXITY:
        nll = ratio(
            [result.nll for result in scored], [result.tokens for result in scored], clusters, confidence=CONFIDENCE
        )
        bits = math.fsum(result.nll for result in scored) / math.log(2) / sum(result.bytes for result in scored)
        score, low, high = (safe_exp(value) for value in (nll.value, nll.low, nll.high))
    else:
        share = proportion([result.score or 0.0 for result in scored], clusters, confidence=CONFIDENCE)
        score, low, high, bits = share.value, share.low, share.high, 0.0
    return SuiteScore(
        score=score,
        low=low,
        high=high,
        num_cases=len(scored),
        num_unscored=len(results) - len(scored),
        tokens=tokens,
        bits_per_byte=bits,
    )


def why_invalid(results: Sequence[CaseResult]) -> str:
    """Say why these results must not count as a score; empty when they may."""
    unscored = [result.unscored for result in results if result.score is None]
    if len(unscored) <= UNSCORED_SHARE_MAX * len(results):
        return ""
    commonest = max(sorted(set(unscored)), key=unscored.count)
    return (
        f"{len(unscored)} of {len(results)} cases could not be scored, more than {UNSCORED_SHARE_MAX:.0%} allows; "
        f"most often because {commonest}"
    )


def format_results(results: Iterable[CaseResult]) -> bytes:
    """Write results as JSON Lines."""
    return b"".join(
        json.dumps(asdict(result), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        for result in results
    )


def parse_results(data: bytes) -> list[CaseResult]:
    """Read what `format_results` wrote."""
    records = map(json.loads, data.splitlines())
    return [CaseResult(**{**record, "found_in": tuple(record.get("found_in", ()))}) for record in records]


def safe_exp(value: float) -> float:
    """Return e to the power of `value`; infinity beyond the largest float."""
    return math.exp(value) if value < 709 else math.inf
