"""Who has to act on an error, the same on both sides of the worker protocol."""

from __future__ import annotations

import errno

from bessemer.api.common.v1.job_pb2 import (
    FAILURE_KIND_INFRA,
    FAILURE_KIND_SYSTEM,
    FAILURE_KIND_USER,
    FailureKind,
)
from bessemer.kernel.errors import (
    AlreadyExists,
    BessemerError,
    Conflict,
    DataLoss,
    DeadlineExceeded,
    Expired,
    FailedPrecondition,
    Internal,
    InvalidRequest,
    LimitReached,
    NotFound,
    PermissionDenied,
    Unavailable,
)

__all__ = ["as_bessemer_error", "failure_kind"]

_USER = (InvalidRequest, FailedPrecondition, NotFound, AlreadyExists, PermissionDenied)
_INFRA = (Unavailable, DeadlineExceeded, DataLoss, LimitReached, Conflict, Expired)


def failure_kind(error: BaseException) -> FailureKind:
    """Return the kind that decides the retry budget; an exception's own `failure_kind` wins."""
    own: FailureKind | None = getattr(error, "failure_kind", None)
    if own is not None:
        return own
    if isinstance(error, _USER):
        return FAILURE_KIND_USER
    if isinstance(error, _INFRA) or isinstance(as_bessemer_error(error), _INFRA):
        return FAILURE_KIND_INFRA
    return FAILURE_KIND_SYSTEM


def as_bessemer_error(error: BaseException) -> BessemerError:
    """Return `error` if it is one of ours, else the one that says the same."""
    if isinstance(error, BessemerError):
        return error
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return LimitReached(f"the disk is full: {error}; free some space", reason="STORAGE_FULL")
    return Internal(f"{type(error).__name__}: {error}"[:1000])
