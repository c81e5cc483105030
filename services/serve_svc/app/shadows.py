"""Shadows: a deployment hears what another was asked, and nobody sees what it says.

An answer that is shown never waits for a shadow: that starts after the last piece is there, at most a few run at a
time and none while the deployment that is shown is busy; what does not fit is dropped, not queued.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from bessemer.kernel.errors import BessemerError
from bessemer.svckit import log
from bessemer.svckit.store import Store

from serve_svc.app.fleet import Fleet
from serve_svc.app.measures import FAULTS, Measures, Stopwatch
from serve_svc.app.outcomes import record_pair
from serve_svc.app.routes import Route
from serve_svc.config import ServeConfig
from serve_svc.engine.protocol import Prompt, Sampling

__all__ = ["Shadows"]


class Shadows:
    """Asks shadows, within limits."""

    def __init__(self, store: Store, fleet: Fleet, measures: Measures, *, config: ServeConfig) -> None:
        self._store = store
        self._fleet = fleet
        self._measures = measures
        self._most = config.shadows_max
        self._busy = config.shadow_busy
        self._timeout_s = config.shadow_timeout_s
        self._tasks: set[asyncio.Task[None]] = set()

    def mirror(self, route: Route, prompt: Prompt, sampling: Sampling, shown: Stopwatch) -> None:
        """Ask the shadow of a route, if it has one and there is room; returns at once."""
        if route.shadow is None or not self._fleet.has(route.shadow.name):
            return
        # The answer that has just ended is still counted.
        if len(self._tasks) >= self._most or self._fleet.num_in_flight(route.deployments[0].name) > self._busy:
            self._measures.shadow_dropped(route.shadow)
            return
        task = asyncio.create_task(self._ask(route, prompt, sampling, shown))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End those that run."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, route: Route, prompt: Prompt, sampling: Sampling, shown: Stopwatch) -> None:
        assert route.shadow is not None
        heard: Stopwatch | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                with (
                    self._measures.answer(route.shadow, shadow=True) as times,
                    self._fleet.use(route.shadow.name) as engine,
                ):
                    async with aclosing(engine.generate(prompt, sampling)) as pieces:
                        async for piece in pieces:
                            times.saw(piece)
            heard = times
        except (TimeoutError, *FAULTS) as error:
            log.warning("shadow_failed", deployment=route.shadow.name, error=repr(error))
        except BessemerError:
            return  # of the request, not of the shadow
        trial = route.trial
        if trial is not None and trial.shadow:
            try:
                await self._store.write(lambda tx: record_pair(tx, trial, shown, heard))
            except BessemerError as error:
                log.warning("shadow_not_counted", deployment=route.shadow.name, reason=error.reason)
