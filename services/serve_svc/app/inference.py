"""Answering: find the engine behind an endpoint, follow its pieces, keep the answer for feedback."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from bessemer.api.serve.v1 import deployment_pb2 as api
from bessemer.kernel.ids import new_id, project_of
from bessemer.svckit.context import Principal
from bessemer.svckit.store import Store, Tx
from sqlalchemy import select

from serve_svc.app.answers import Answers
from serve_svc.app.drift_feed import DriftFeed
from serve_svc.app.fleet import Fleet
from serve_svc.app.measures import FAULTS, Measures
from serve_svc.app.outcomes import record_failure, record_success
from serve_svc.app.routes import Route, Trial, resolve
from serve_svc.app.shadows import Shadows
from serve_svc.app.tables import SERVING
from serve_svc.codec import prompt_json
from serve_svc.engine.protocol import Piece, Prompt, Sampling

__all__ = ["Inference", "Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an answer with its origin."""

    response_id: str
    model_version: str
    piece: Piece


class Inference:
    """Answers prompts."""

    def __init__(
        self, store: Store, fleet: Fleet, answers: Answers, feed: DriftFeed, shadows: Shadows, *, measures: Measures
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._answers = answers
        self._feed = feed
        self._shadows = shadows
        self._measures = measures

    async def generate(
        self, target: str, prompt: Prompt, sampling: Sampling, user: str = ""
    ) -> AsyncGenerator[Part, None]:
        """Yield parts of the answer; closing the generator early frees the slot.

        Requests of one `user`, in the caller's words, go to one deployment as long as the traffic stays as it is.

        Raises: as the engine, and as `resolve`.
        """
        response_id, texts = new_id("r"), list[str]()
        deployment, route = await self._choose(target, user, response_id)
        trial = route.trial if deployment.name == route.deployments[0].name else None
        try:
            with self._measures.answer(deployment) as times, self._fleet.use(deployment.name) as engine:
                async with aclosing(engine.generate(prompt, sampling)) as pieces:
                    async for piece in pieces:
                        texts.append(piece.text)
                        times.saw(piece)
                        if piece.finish:
                            await self._answers.record(
                                response_id,
                                project=project_of(target),
                                model_version=deployment.model_version,
                                prompt_json=prompt_json(prompt),
                                answer="".join(texts),
                                also=partial(record_success, trial=trial, response_id=response_id, times=times),
                            )
                            self._feed.offer(target, response_id, prompt, piece, times.last_s - times.began_s)
                            self._shadows.mirror(route, prompt, sampling, times)
                        yield Part(response_id, deployment.model_version, piece)
        except FAULTS:
            await self._note_failure(trial)
            raise

    async def count_tokens(self, target: str, prompt: Prompt) -> int:
        """Return the number of tokens of a prompt."""
        deployment, _ = await self._choose(target, "", "")
        with self._fleet.use(deployment.name) as engine:
            return await engine.count_tokens(prompt)

    async def _choose(self, target: str, user: str, response_id: str) -> tuple[api.Deployment, Route]:
        """Return who answers: who is to, or a stand-in while that one's engine is away, which counts against it."""
        for _ in range(2):  # another deployment may have taken over between our reading and now
            route = await self._store.read(lambda tx: resolve(tx, target, user, response_id))
            for deployment in route.deployments:
                if self._fleet.has(deployment.name):
                    if deployment.name != route.deployments[0].name:
                        await self._note_failure(route.trial)
                    return deployment, route
        return route.deployments[0], route

    async def _note_failure(self, trial: Trial | None) -> None:
        if trial is not None:
            await self._store.write(lambda tx: record_failure(tx, trial))

    async def endpoints(self, principal: Principal) -> list[api.Endpoint]:
        """Return the endpoints with a deployment that a caller may use."""

        def read(tx: Tx) -> list[api.Endpoint]:
            names = tx.connection.execute(select(SERVING.c.endpoint).distinct().order_by(SERVING.c.endpoint)).scalars()
            return [tx.get(name, api.Endpoint) for name in names if principal.may_enter(project_of(name))]

        return await self._store.read(read)
