"""What a handler may know about the call it serves, without passing it around.

A task that a handler starts inherits all of it, the idempotency key too. Work that outlives the call therefore starts
from a background coroutine that the handler wakes.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass

from opentelemetry import trace

__all__ = [
    "SYSTEM",
    "IdempotencyKey",
    "Principal",
    "current_principal",
    "current_request_id",
    "current_traceparent",
    "deadline_remaining_s",
]


@dataclass(frozen=True)
class Principal:
    """Who calls: subject of the token, its roles, and the projects it may touch (`*` means all)."""

    subject: str
    roles: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()

    def may_enter(self, project: str) -> bool:
        """Say whether the token names the project."""
        return "*" in self.projects or project in self.projects


@dataclass(frozen=True)
class IdempotencyKey:
    """Identifies a retried call: the same principal, method and request id; the digest tells a reused id."""

    principal: str
    method: str
    request_id: str
    request_sha256: str


SYSTEM = Principal("system", frozenset({"admin"}), frozenset({"*"}))

principal: ContextVar[Principal] = ContextVar("principal", default=SYSTEM)
request_id: ContextVar[str] = ContextVar("request_id", default="")
idempotency: ContextVar[IdempotencyKey | None] = ContextVar("idempotency", default=None)
deadline: ContextVar[float | None] = ContextVar("deadline", default=None)  # reading of time.monotonic()


def current_principal() -> Principal:
    """Return who calls; the system itself outside of calls."""
    return principal.get()


def current_request_id() -> str:
    """Return the id of the call that log lines carry; empty outside of calls."""
    return request_id.get()


def deadline_remaining_s() -> float | None:
    """Return the seconds the caller still waits, at least 0; None outside of calls and in unbounded ones."""
    end = deadline.get()
    return None if end is None else max(0.0, end - time.monotonic())


def current_traceparent() -> str:
    """Return the W3C trace context of the current span; empty when there is none."""
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return ""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"
