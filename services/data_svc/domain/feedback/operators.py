"""The operators of a curation of feedback, in order: each keeps records, says why it drops others, or marks them.

The list is what the report and the version's manifest name; raise an operator's version when its outcome changes.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from data_svc.domain.feedback.raters import Found, contrary, coordinated, label_noise, outlying
from data_svc.domain.feedback.records import DOWN, UP, Said, Settings
from data_svc.domain.reasons import Reason
from data_svc.domain.splitting import HELDOUT, TRAIN, share

__all__ = ["OPERATORS", "Operator", "Outcome"]

_WEIGHT_RANGE = (0.2, 5.0)
_STRATUM_MIN = 20  # records, below which a stratum's share of ratings is not known


@dataclass(frozen=True)
class Outcome:
    """What an operator made of records: kept ones, maybe marked; the others with reason and detail; what it found."""

    kept: Sequence[Said]
    dropped: Sequence[tuple[Said, Reason, str]] = ()
    found: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Operator:
    """A named step of the curation."""

    name: str
    version: int
    apply: Callable[[Sequence[Said], Settings], Outcome]


def _divide(said: Sequence[Said], reason: Callable[[Said], Reason | None]) -> Outcome:
    reasons = [reason(one) for one in said]
    return Outcome(
        [one for one, why in zip(said, reasons, strict=True) if why is None],
        [(one, why, "") for one, why in zip(said, reasons, strict=True) if why is not None],
    )


def _join(said: Sequence[Said], settings: Settings) -> Outcome:
    """Keep records of the wanted answers, with conversation and answer."""

    def reason(one: Said) -> Reason | None:
        if one.erased:
            return Reason.ERASED
        if one.model_version not in settings.model_versions:
            return Reason.OTHER_MODEL_VERSION
        if not settings.from_s <= one.time_s < settings.until_s:
            return Reason.OUTSIDE_WINDOW
        return None if one.messages and one.answer.strip() else Reason.NOT_JOINED

    return _divide(said, reason)


def _consent(said: Sequence[Said], settings: Settings) -> Outcome:
    """Keep what its author allows to learn from."""
    return _divide(said, lambda one: None if one.consent in settings.consents else Reason.CONSENT_MISSING)


def _newest(said: Sequence[Said], settings: Settings) -> Outcome:
    """Of what one person said about one answer keep the last word, with all signals."""
    del settings
    last: dict[tuple[str, str], Said] = {}
    dropped: list[tuple[Said, Reason, str]] = []
    for given in sorted(said, key=lambda one: (one.time_s, one.name)):
        one = given
        key = one.user, one.response_id or f"{one.asked}\0{one.answered}"
        if before := last.pop(key, None):
            dropped.append((before, Reason.SUPERSEDED, f"by {one.name}"))
            signals = sorted({*before.signals, *one.signals})
            one = replace(one, rating=one.rating or before.rating, edited=one.edited or before.edited, signals=signals)
        last[key] = one
    return Outcome(list(last.values()), dropped)


def _propensity(said: Sequence[Said], settings: Settings) -> Outcome:
    """Weigh ratings by how seldom such answers are rated: what users do with an answer also decides whether they rate.

    The share of rated among all records is taken by what else the person did with the answer; the weight is its
    inverse, times the share over all (inverse propensity: Horvitz & Thompson 1952), within 0.2 to 5.
    """
    del settings
    strata: defaultdict[tuple[str, ...], list[Said]] = defaultdict(list)
    for one in said:
        strata[tuple(sorted(one.signals))].append(one)
    overall = sum(_is_stated(one) for one in said) / max(1, len(said))
    weights = dict.fromkeys(strata, 1.0)
    for stratum, group in strata.items():
        rated = sum(map(_is_stated, group))
        if len(group) >= _STRATUM_MIN and rated:
            weights[stratum] = min(max(overall * len(group) / rated, _WEIGHT_RANGE[0]), _WEIGHT_RANGE[1])
    return Outcome([replace(one, weight=round(weights[tuple(sorted(one.signals))], 4)) for one in said])


def _is_stated(one: Said) -> bool:
    return bool(one.rating or one.edited)


def _stated(said: Sequence[Said], settings: Settings) -> Outcome:
    """Keep ratings and edits; signals alone are nothing to learn from."""
    del settings
    return _divide(said, lambda one: None if _is_stated(one) else Reason.NO_OPINION)


def _screen(
    test: Callable[[Sequence[Said], Settings], Found], reason: Reason
) -> Callable[[Sequence[Said], Settings], Outcome]:
    """Return an operator that leaves out the people a test finds."""

    def apply(said: Sequence[Said], settings: Settings) -> Outcome:
        found = test(said, settings)
        outcome = _divide(said, lambda one: reason if one.user in found.users else None)
        if not found.users:
            return outcome
        group = {"reason": str(reason), "num_users": len(found.users), "evidence": found.evidence}
        return replace(outcome, found={"groups": [group | {"num_ratings": len(outcome.dropped)}]})

    return apply


def _measure(said: Sequence[Said], settings: Settings) -> Outcome:
    """Say how noisy the ratings are and how each model version was rated; drops nothing."""
    del settings
    noise, pairs = label_noise(said)
    rated: Counter[str] = Counter(one.model_version for one in said if one.rating)
    ups: Counter[str] = Counter(one.model_version for one in said if one.rating == UP)
    ratings = [{"model_version": name, "num_rated": rated[name], "num_up": ups[name]} for name in sorted(rated)]
    return Outcome(said, found={"label_noise": noise, "num_double_rated": pairs, "ratings": ratings})


def _useful(said: Sequence[Said], settings: Settings) -> Outcome:
    """Keep what the wanted form is made of, each prompt with each answer once."""
    wanted: dict[str, Callable[[Said], bool]] = {
        "ACCEPTED": lambda one: bool(one.edited.strip()) or one.rating == UP,
        "THUMBS": lambda one: one.rating in (UP, DOWN),
        "EDITS": lambda one: bool(one.edited.strip()) and one.edited.strip() != one.answer.strip(),
    }
    return _divide(said, lambda one: None if wanted[settings.form](one) else Reason.OTHER_FORM)


def _cap(said: Sequence[Said], settings: Settings) -> Outcome:
    """Keep at most a share of the version from any one person, drawn by seed.

    The bound holds for what is kept: it is the largest number n with n <= share x sum of min(count, n), at least 1.
    """
    counts = Counter(one.user for one in said)
    most = max(counts.values(), default=1)
    while most > 1 and most > settings.user_share_max * sum(min(count, most) for count in counts.values()):
        most -= 1
    taken: Counter[str] = Counter()
    kept, dropped = [], []
    for one in sorted(said, key=lambda one: (share(settings.seed, "cap", one.name), one.name)):
        if taken[one.user] < most:
            taken[one.user] += 1
            kept.append(one)
        else:
            dropped.append((one, Reason.OVER_SHARE, f"more than {most} from one person"))
    return Outcome(sorted(kept, key=lambda one: (one.time_s, one.name)), dropped)


def _hold_out(said: Sequence[Said], settings: Settings) -> Outcome:
    """Mark what is held out: half of the share by person and half as the newest, so that both are news."""
    half = settings.heldout_fraction / 2
    people = {one.user for one in said if share(settings.seed, "held-out person", one.user) < half}
    newest = sorted(said, key=lambda one: (one.time_s, one.name))[len(said) - math.floor(half * len(said)) :]
    names = {one.name for one in newest}
    return Outcome([replace(one, split=HELDOUT if one.user in people or one.name in names else TRAIN) for one in said])


OPERATORS: tuple[Operator, ...] = (
    Operator("join", 1, _join),
    Operator("consent", 1, _consent),
    Operator("newest", 1, _newest),
    Operator("propensity", 1, _propensity),
    Operator("stated", 1, _stated),
    Operator("coordinated", 1, _screen(lambda s, o: coordinated(s, o.false_alarms, o.together_s), Reason.COORDINATED)),
    Operator("contrary", 1, _screen(lambda s, o: contrary(s, o.false_alarms), Reason.CONTRARY_RATER)),
    Operator("outlying", 1, _screen(lambda s, o: outlying(s, o.false_alarms), Reason.OUTLYING_RATER)),
    Operator("measure", 1, _measure),
    Operator("form", 1, _useful),
    Operator("cap", 1, _cap),
    Operator("hold_out", 1, _hold_out),
)
