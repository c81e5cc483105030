"""Why a document did not become part of a version; every delivered document has exactly one fate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["EXPLANATIONS", "KEPT", "PARSE_FAILURES", "Reason", "Rejection"]

KEPT = "kept"


class Reason(StrEnum):
    """A fate other than being kept."""

    EMPTY = "EMPTY"
    TOO_SHORT = "TOO_SHORT"
    BINARY = "BINARY"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    ENCODING_DAMAGED = "ENCODING_DAMAGED"
    REPETITIVE = "REPETITIVE"
    LOW_QUALITY = "LOW_QUALITY"
    PARSE_FAILED = "PARSE_FAILED"
    PARSE_TIMEOUT = "PARSE_TIMEOUT"
    PARSE_TRUNCATED = "PARSE_TRUNCATED"
    ENCRYPTED = "ENCRYPTED"
    NEEDS_OCR = "NEEDS_OCR"
    HTTP_STATUS = "HTTP_STATUS"
    LINE_TOO_LONG = "LINE_TOO_LONG"
    ROW_INVALID = "ROW_INVALID"
    EXACT_DUPLICATE = "EXACT_DUPLICATE"
    NEAR_DUPLICATE = "NEAR_DUPLICATE"
    OVER_BUDGET = "OVER_BUDGET"
    NO_FACTS = "NO_FACTS"
    REJECTED_BY_CLASSIFIER = "REJECTED_BY_CLASSIFIER"
    SEMANTIC_DUPLICATE = "SEMANTIC_DUPLICATE"
    CONTAMINATED = "CONTAMINATED"
    ARCHIVE_DAMAGED = "ARCHIVE_DAMAGED"
    ARCHIVE_TOO_LARGE = "ARCHIVE_TOO_LARGE"
    ARCHIVE_TOO_MANY_ENTRIES = "ARCHIVE_TOO_MANY_ENTRIES"
    ARCHIVE_NESTED = "ARCHIVE_NESTED"
    ARCHIVE_UNSAFE_PATH = "ARCHIVE_UNSAFE_PATH"
    ARCHIVE_LINK = "ARCHIVE_LINK"
    ERASED = "ERASED"
    OTHER_MODEL_VERSION = "OTHER_MODEL_VERSION"
    OUTSIDE_WINDOW = "OUTSIDE_WINDOW"
    NOT_JOINED = "NOT_JOINED"
    CONSENT_MISSING = "CONSENT_MISSING"
    SUPERSEDED = "SUPERSEDED"
    NO_OPINION = "NO_OPINION"
    COORDINATED = "COORDINATED"
    CONTRARY_RATER = "CONTRARY_RATER"
    OUTLYING_RATER = "OUTLYING_RATER"
    OTHER_FORM = "OTHER_FORM"
    OVER_SHARE = "OVER_SHARE"


EXPLANATIONS: dict[str, str] = {
    KEPT: "used",
    Reason.EMPTY: "holds no text",
    Reason.TOO_SHORT: "shorter than the recipe's min_characters",
    Reason.BINARY: "is not text",
    Reason.UNSUPPORTED_FORMAT: "a known format that is not read; convert it to PDF, HTML, Markdown or text",
    Reason.ENCODING_DAMAGED: "too many characters cannot be decoded",
    Reason.REPETITIVE: "almost all of it repeats itself",
    Reason.LOW_QUALITY: "breaks a rule of web corpora; the recipe asks for quality = web",
    Reason.PARSE_FAILED: "the parser refused it or broke on it",
    Reason.PARSE_TIMEOUT: "the parser did not finish in time",
    Reason.PARSE_TRUNCATED: "ends before its end; upload the whole file again",
    Reason.ENCRYPTED: "needs a password; upload it without one",
    Reason.NEEDS_OCR: "pages without text, as scanners make them; run text recognition over it and upload the result",
    Reason.HTTP_STATUS: "the web server answered with a redirect or an error instead of a page",
    Reason.LINE_TOO_LONG: "a line over 64 MB; the next line was read on",
    Reason.ROW_INVALID: "a row or record that does not fit the documented form",
    Reason.EXACT_DUPLICATE: "the same text was kept from another place",
    Reason.NEAR_DUPLICATE: "a longer, nearly equal document was kept",
    Reason.OVER_BUDGET: "good, but beyond the recipe's tokens_max or rows_max",
    Reason.REJECTED_BY_CLASSIFIER: "unlike what was accepted in quality_labels, by the recipe's classifier_threshold",
    Reason.SEMANTIC_DUPLICATE: "says the same as another document of its source; the recipe asks for it",
    Reason.NO_FACTS: "states nothing that a short question could ask for",
    Reason.CONTAMINATED: "holds cases of an evaluation suite; trained on it, a model would know the answers",
    Reason.ARCHIVE_DAMAGED: "the archive cannot be read on from here",
    Reason.ARCHIVE_TOO_LARGE: "the archive expands beyond its limits",
    Reason.ARCHIVE_TOO_MANY_ENTRIES: "the archive has more entries than allowed",
    Reason.ARCHIVE_NESTED: "an archive inside an archive; upload it by itself",
    Reason.ARCHIVE_UNSAFE_PATH: "the entry's path leaves the archive",
    Reason.ARCHIVE_LINK: "links and devices are not followed",
    Reason.ERASED: "taken out of an earlier version on request; a receipt tells of it",
    Reason.OTHER_MODEL_VERSION: "about an answer of another model version",
    Reason.OUTSIDE_WINDOW: "given before or after the time that counts",
    Reason.NOT_JOINED: "without its conversation or answer",
    Reason.CONSENT_MISSING: "its author does not allow learning from it",
    Reason.SUPERSEDED: "the same person said something else about the same answer later",
    Reason.NO_OPINION: "says neither good nor bad; only how the answer was used",
    Reason.COORDINATED: "its author acts in step with others: the same prompts, or the same prompts at a time",
    Reason.CONTRARY_RATER: "its author contradicts what others say about the same answers",
    Reason.OUTLYING_RATER: "its author rates up, or down, far more often than others",
    Reason.OTHER_FORM: "not what such rows are made of, such as a rating down among accepted answers",
    Reason.OVER_SHARE: "beyond what one person may add",
}


# The file is of a format that is read, and could not be; many of these say that something is wrong with its source.
PARSE_FAILURES = (Reason.PARSE_FAILED, Reason.PARSE_TIMEOUT, Reason.PARSE_TRUNCATED, Reason.ARCHIVE_DAMAGED)


@dataclass(frozen=True, order=True)
class Rejection:
    """One document, or file, or archive, that was not used."""

    source: str
    reason: Reason
    detail: str = ""
    size_bytes: int = 0
    duplicate_of: str = ""
