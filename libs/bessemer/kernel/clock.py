"""Time, passed in so that tests can hold it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """Return the wall-clock time in UTC; for records only, never for leases."""

    def monotonic(self) -> float:
        """Return seconds since boot, the same in every process of the host; never jumps."""


class SystemClock:
    """The host's clock."""

    def now(self) -> datetime:
        """Return the wall-clock time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since boot, suspended time included where the host counts it."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class ManualClock:
    """A clock that stands still until told to move."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._seconds = 1_000.0

    def now(self) -> datetime:
        """Return the held time."""
        return self._now

    def monotonic(self) -> float:
        """Return the held seconds."""
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Move both readings on."""
        self._now += timedelta(seconds=seconds)
        self._seconds += seconds
