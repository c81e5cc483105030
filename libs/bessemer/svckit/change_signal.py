"""Wakes those who wait for changes in this process."""

from __future__ import annotations

import asyncio
import contextlib
import threading

__all__ = ["ChangeSignal"]


class ChangeSignal:
    """The sequence number of the newest change, and a way to wait for a newer one; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._head = 0
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = set()

    @property
    def head(self) -> int:
        """Return the newest sequence number that this process knows of."""
        return self._head

    async def wait_after(self, sequence: int, timeout_s: float) -> int:
        """Return the newest sequence number once it is past `sequence`, or at `wake`, or after `timeout_s`."""
        loop = asyncio.get_running_loop()
        waiter = (loop, loop.create_future())
        with self._lock:
            if self._head > sequence:
                return self._head
            self._waiters.add(waiter)
        try:
            await asyncio.wait([waiter[1]], timeout=timeout_s)
        finally:
            with self._lock:
                self._waiters.discard(waiter)
        return self._head

    def advance(self, head: int) -> None:
        """Make known that `head` is committed."""
        with self._lock:
            if head <= self._head:
                return
            self._head = head
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        with self._lock:
            waiters, self._waiters = self._waiters, set()
        for loop, future in waiters:
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
