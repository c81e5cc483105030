"""The one tree of errors, named after what the caller can do.

BessemerError
├── InvalidRequest       fix the request
├── Unauthenticated      bring valid credentials
├── PermissionDenied     ask for the right
├── NotFound             name something that exists
├── AlreadyExists        choose another name
├── FailedPrecondition   change the state first
├── Conflict             read again, then retry
├── LimitReached         wait, or ask for less
├── Unavailable          retry
├── DeadlineExceeded     give it more time
├── Expired              start the watch again
├── DataLoss             restore from a copy
├── Unimplemented        ask something else that can do it
└── Internal             report a defect
"""

from __future__ import annotations

__all__ = [
    "AlreadyExists",
    "BessemerError",
    "Conflict",
    "DataLoss",
    "DeadlineExceeded",
    "Expired",
    "FailedPrecondition",
    "Internal",
    "InvalidRequest",
    "LimitReached",
    "NotFound",
    "PermissionDenied",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "error_class",
]


class BessemerError(Exception):
    """An error that a caller can act on.

    `reason` is a value of `bessemer.api.common.v1.ErrorReason` without its prefix, `code` the gRPC status
    code's name; `fields` are short strings that are safe to show, such as `field`, `resource` or `file`.
    """

    code = "INTERNAL"
    default_reason = "BUG"

    def __init__(self, message: str, *, reason: str | None = None, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.fields = {key: str(value) for key, value in fields.items()}


class InvalidRequest(BessemerError):
    """The request is wrong as it stands; `field` names the path, the message the allowed range."""

    code = "INVALID_ARGUMENT"
    default_reason = "FIELD_INVALID"


class Unauthenticated(BessemerError):
    """No valid credentials."""

    code = "UNAUTHENTICATED"
    default_reason = "UNAUTHENTICATED"


class PermissionDenied(BessemerError):
    """The credentials do not allow this."""

    code = "PERMISSION_DENIED"
    default_reason = "PERMISSION_DENIED"


class NotFound(BessemerError):
    """The named resource does not exist."""

    code = "NOT_FOUND"
    default_reason = "RESOURCE_NOT_FOUND"


class AlreadyExists(BessemerError):
    """A resource of that name exists."""

    code = "ALREADY_EXISTS"
    default_reason = "RESOURCE_EXISTS"


class FailedPrecondition(BessemerError):
    """The state of the system does not allow this now."""

    code = "FAILED_PRECONDITION"
    default_reason = "JOB_STATE_INVALID"


class Conflict(BessemerError):
    """Somebody else was faster; read again, then retry."""

    code = "ABORTED"
    default_reason = "ETAG_MISMATCH"


class LimitReached(BessemerError):
    """A quota, a rate or the disk is exhausted."""

    code = "RESOURCE_EXHAUSTED"
    default_reason = "RATE_LIMITED"


class Unavailable(BessemerError):
    """Something does not answer right now; retry."""

    code = "UNAVAILABLE"
    default_reason = "DEPENDENCY_DOWN"


class DeadlineExceeded(BessemerError):
    """The answer did not come in the time the caller gave; the work may have been done."""

    code = "DEADLINE_EXCEEDED"
    default_reason = "DEADLINE_INVALID"


class Expired(BessemerError):
    """A token points before the beginning of the log; start again."""

    code = "OUT_OF_RANGE"
    default_reason = "RESUME_TOKEN_EXPIRED"


class DataLoss(BessemerError):
    """Stored bytes are not what was written."""

    code = "DATA_LOSS"
    default_reason = "CHECKSUM_MISMATCH"


class Unimplemented(BessemerError):
    """What computes here cannot do this at all; the message says what can."""

    code = "UNIMPLEMENTED"
    default_reason = "NOT_SUPPORTED"


class Internal(BessemerError):
    """A defect of the program."""


_CLASSES: dict[str, type[BessemerError]] = {
    cls.code: cls
    for cls in (
        InvalidRequest,
        Unauthenticated,
        PermissionDenied,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        Conflict,
        LimitReached,
        Unavailable,
        DeadlineExceeded,
        Expired,
        DataLoss,
        Unimplemented,
        Internal,
    )
}


def error_class(code: str) -> type[BessemerError]:
    """Return the class for the name of a gRPC status code; `Internal` for unknown ones."""
    return _CLASSES.get(code, Internal)
