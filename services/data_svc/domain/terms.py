"""What the owner of a source states about its use; taken as stated, and never guessed from its text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from typing import Protocol

from bessemer.kernel.errors import FailedPrecondition, InvalidRequest

__all__ = ["TERMS", "UNSTATED", "Stated", "Terms", "check_dates", "check_use", "stated", "terms_of"]

TERMS = ("license", "consent", "retain_until")
_NO_CONSENT = "none"


class Stated(Protocol):
    """A message with the fields of `TERMS`."""

    license: str
    consent: str
    retain_until: str


@dataclass(frozen=True)
class Terms:
    """A licence, a consent such as `internal-training`, and the last day of use, `YYYY-MM-DD`; empty if not stated."""

    license: str = ""
    consent: str = ""
    retain_until: str = ""

    def given(self) -> dict[str, str]:
        """Return what is stated."""
        return {name: value for name, value in asdict(self).items() if value}


UNSTATED = Terms()


def terms_of(message: Stated) -> Terms:
    """Return the terms that a message states."""
    return Terms(message.license, message.consent, message.retain_until)


def stated(sources: Iterable[tuple[str, Terms]]) -> list[dict[str, str]]:
    """Return the sources that state anything, by name, each with its terms."""
    return [
        {"source": name, **terms.given()}
        for name, terms in sorted({found for found in sources if found[1] != UNSTATED}, key=str)
    ]


def check_dates(terms: Terms) -> None:
    """Raise InvalidRequest if `retain_until` is no day."""
    try:
        if terms.retain_until:
            date.fromisoformat(terms.retain_until)
    except ValueError as error:
        message = f"retain_until must be a day such as 2027-12-31; got {terms.retain_until!r}"
        raise InvalidRequest(message, field="retain_until") from error


def check_use(terms: Terms, source: str, file_name: str, today: date) -> None:
    """Raise FailedPrecondition RETENTION_EXPIRED or CONSENT_MISSING if a source may not be used today."""
    if terms.consent.lower() == _NO_CONSENT:
        message = (
            f"{file_name} ({source}) came with consent {terms.consent!r}: its owner allows no training; leave it out"
        )
        raise FailedPrecondition(message, reason="CONSENT_MISSING", field="curation_job.uploads", resource=source)
    if terms.retain_until and date.fromisoformat(terms.retain_until) < today:
        raise FailedPrecondition(
            f"{file_name} ({source}) might be used until {terms.retain_until}; leave it out, or upload it again with "
            "the term that its owner now grants",
            reason="RETENTION_EXPIRED",
            field="curation_job.uploads",
            resource=source,
        )
