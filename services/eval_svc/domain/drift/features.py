"""What a monitor looks at, and what one request tells about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Feature", "Kind", "Role", "Row", "Strata", "stratum_of"]

_HOUR_S, _DAY_S = 3600, 86_400


class Kind(StrEnum):
    """What values a feature has."""

    NUMBER = "number"  # lengths, latencies, log-probabilities
    BINARY = "binary"  # thumbs, refusals, tool errors
    CATEGORY = "category"  # languages, topics, finish reasons
    TEXT = "text"  # the buckets of the prompt's words
    RELATION = "relation"  # yes or no among requests of equal confidence


class Role(StrEnum):
    """Where a feature stands between a request and its outcome; an alarm's cause follows from it."""

    INPUT = "input"
    OUTPUT = "output"
    OUTCOME = "outcome"
    SYSTEM = "system"


class Strata(StrEnum):
    """Which references a feature has; values are only compared with those of the same stratum, in UTC."""

    NONE = "none"
    HOUR = "hour"
    WEEKDAY = "weekday"

    @property
    def number(self) -> int:
        """How many there are."""
        return {Strata.NONE: 1, Strata.HOUR: 24, Strata.WEEKDAY: 7}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A feature and its part of the alarm budget, in proportion to `weight`."""

    name: str
    kind: Kind
    role: Role
    strata: Strata = Strata.NONE
    weight: float = 1.0
    of: tuple[str, str] = ("", "")  # outcome and confidence of a relation


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One request without its text; a feature that is missing is simply not looked at."""

    id: str
    time_s: float  # since 1970
    numbers: Mapping[str, float] = field(default_factory=dict)
    flags: Mapping[str, bool] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    buckets: Sequence[int] = ()


def stratum_of(strata: Strata, time_s: float) -> int:
    """Return the stratum of a time; 1 January 1970 was a Thursday, weekdays count from Monday."""
    if strata is Strata.HOUR:
        return int(time_s // _HOUR_S) % 24
    return (int(time_s // _DAY_S) + 3) % 7 if strata is Strata.WEEKDAY else 0
