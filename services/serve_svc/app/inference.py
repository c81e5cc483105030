"""Answering: find the engine behind an endpoint, follow its pieces, keep the answer for feedback."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from bessemer.api.serve.v1 import deployment_pb2 as api
from bessemer.kernel.errors import FailedPrecondition, NotFound, Unavailable
from bessemer.kernel.ids import new_id, project_of
from bessemer.svckit.context import Principal
from bessemer.svckit.store import Store, Tx
from sqlalchemy import select

from serve_svc.app.answers import Answers
from serve_svc.app.drift_feed import DriftFeed
from serve_svc.app.fleet import Fleet
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

    def __init__(self, store: Store, fleet: Fleet, answers: Answers, feed: DriftFeed) -> None:
        self._store = store
        self._fleet = fleet
        self._answers = answers
        self._feed = feed

    async def generate(self, target: str, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Part, None]:
        """Yield parts of the answer; closing the generator early frees the slot.

        Raises: as the engine, and as `resolve`.
        """
        deployment = await self._resolve(target)
        response_id, texts, began_s = new_id("r"), list[str](), time.monotonic()
        with self._fleet.use(deployment.name) as engine:
            async with aclosing(engine.generate(prompt, sampling)) as pieces:
                async for piece in pieces:
                    texts.append(piece.text)
                    if piece.finish:
                        await self._answers.record(
                            response_id,
                            project=project_of(target),
                            model_version=deployment.model_version,
                            prompt_json=prompt_json(prompt),
                            answer="".join(texts),
                        )
                        self._feed.offer(target, response_id, prompt, piece, time.monotonic() - began_s)
                    yield Part(response_id, deployment.model_version, piece)

    async def count_tokens(self, target: str, prompt: Prompt) -> int:
        """Return the number of tokens of a prompt."""
        deployment = await self._resolve(target)
        with self._fleet.use(deployment.name) as engine:
            return await engine.count_tokens(prompt)

    async def _resolve(self, target: str) -> api.Deployment:
        deployment = await self._store.read(lambda tx: resolve(tx, target))
        if self._fleet.has(deployment.name):
            return deployment
        # Another deployment may have taken over between our reading and now.
        return await self._store.read(lambda tx: resolve(tx, target))

    async def endpoints(self, principal: Principal) -> list[api.Endpoint]:
        """Return the endpoints with a deployment that a caller may use."""

        def read(tx: Tx) -> list[api.Endpoint]:
            names = tx.connection.execute(select(SERVING.c.endpoint).distinct().order_by(SERVING.c.endpoint)).scalars()
            return [tx.get(name, api.Endpoint) for name in names if principal.may_enter(project_of(name))]

        return await self._store.read(read)


def resolve(tx: Tx, target: str) -> api.Deployment:
    """Return the deployment that takes an endpoint's traffic.

    Raises: NotFound without endpoint or deployment; Unavailable while the first one loads; FailedPrecondition if
    it failed.
    """
    endpoint = tx.get(target, api.Endpoint)
    if not endpoint.deployment:
        if tx.connection.execute(select(SERVING.c.deployment).where(SERVING.c.endpoint == target)).first():
            text = f"{target} is loading its first model; try again in some seconds"
            raise Unavailable(text, reason="MODEL_LOADING", resource=target, retry_after_s=2)
        raise NotFound(f"{target} has no deployment; deploy a model version first", resource=target)
    deployment = tx.get(endpoint.deployment, api.Deployment)
    if deployment.state == api.DEPLOYMENT_STATE_FAILED:
        text = f"{deployment.name} failed: {deployment.error.message}; deploy a model version again"
        raise FailedPrecondition(text, resource=deployment.name)
    return deployment
