"""Answering: find the engine behind an endpoint, follow its pieces, keep the answer for feedback."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

from bessemer.api.serve.v1 import deployment_pb2 as api
from bessemer.kernel.errors import FailedPrecondition, NotFound, Unavailable
from bessemer.kernel.ids import new_id, project_of
from bessemer.svckit.context import Principal, current_principal
from bessemer.svckit.store import Store, Tx
from sqlalchemy import select

from serve_svc.app.answers import Answers
from serve_svc.app.drift_feed import DriftFeed
from serve_svc.app.fleet import Fleet
from serve_svc.app.meter import Meter
from serve_svc.app.tables import SERVING
from serve_svc.codec import prompt_json
from serve_svc.engine.protocol import Embedded, Piece, Prompt, Sampling, Scored, Tokenized
from serve_svc.engine.tool_calls import CallDelta, ToolCallReader
from serve_svc.ports import Engine

__all__ = ["Inference", "Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an answer with its origin; calls of tools are taken out of its text."""

    response_id: str
    model_version: str
    piece: Piece
    calls: tuple[CallDelta, ...] = ()


@dataclass(frozen=True, slots=True)
class _Running:
    """An answer that is being given, and to whom."""

    target: str
    subject: str
    engine: Engine


class Inference:
    """Answers prompts."""

    def __init__(self, store: Store, fleet: Fleet, answers: Answers, feed: DriftFeed, meter: Meter) -> None:
        self._store = store
        self._fleet = fleet
        self._answers = answers
        self._feed = feed
        self._meter = meter
        self._running: dict[str, _Running] = {}

    async def generate(
        self, target: str, prompt: Prompt, sampling: Sampling, *, single_tool_call: bool = False
    ) -> AsyncGenerator[Part, None]:
        """Yield parts of the answer; closing the generator early frees the slot.

        Raises: as the engine, as `resolve`, and as `Meter.charge`.
        """
        deployment, subject = await self._resolve(target), current_principal().subject
        response_id, texts, began_s = new_id("r"), list[str](), time.monotonic()
        charge = self._meter.charge(subject, prompt_tokens=_estimate(prompt), completion_tokens=sampling.max_tokens)
        with charge as bill, self._fleet.use(deployment.name) as engine:
            names = [tool.name for tool in prompt.tools]
            reader = ToolCallReader(engine.tool_format, names, single=single_tool_call) if names else None
            self._running[response_id] = _Running(target, subject, engine)
            try:
                async with aclosing(engine.generate(prompt, sampling, response_id)) as pieces:
                    async for piece in pieces:
                        texts.append(piece.text)
                        bill.see(piece)
                        if piece.finish:
                            await self._answers.record(
                                response_id,
                                project=project_of(target),
                                model_version=deployment.model_version,
                                prompt_json=prompt_json(prompt),
                                answer="".join(texts),
                            )
                            self._feed.offer(target, response_id, prompt, piece, time.monotonic() - began_s)
                        yield _part(response_id, deployment.model_version, piece, reader)
            finally:
                del self._running[response_id]

    async def abort(self, target: str, response_id: str) -> bool:
        """End an answer of the caller's own, and say whether there was one to end."""
        running = self._running.get(response_id)
        if running is None or (running.target, running.subject) != (target, current_principal().subject):
            return False
        await running.engine.abort(response_id)
        return True

    async def count_tokens(self, target: str, prompt: Prompt) -> int:
        """Return the number of tokens of a prompt."""
        async with self._engine(target) as (engine, _):
            return await engine.count_tokens(prompt)

    async def tokenize(self, target: str, prompt: Prompt) -> Tokenized:
        """Return the tokens of a prompt."""
        async with self._engine(target) as (engine, _):
            return await engine.tokenize(prompt)

    async def detokenize(self, target: str, token_ids: Sequence[int]) -> str:
        """Return the text of tokens."""
        async with self._engine(target) as (engine, _):
            return await engine.detokenize(token_ids)

    async def score(
        self, target: str, prompt: Prompt, continuations: Sequence[str], logprobs: int
    ) -> tuple[Scored, str]:
        """Return the log-probabilities of continuations, and which model version they are of.

        Raises: as `generate`.
        """
        async with self._engine(target) as (engine, version):
            size = _estimate(prompt) + sum(map(_text_estimate, continuations))
            with self._meter.charge(current_principal().subject, prompt_tokens=size, completion_tokens=0) as bill:
                scored = await engine.score(prompt, continuations, logprobs)
                bill.prompt_tokens = scored.prompt_tokens + sum(map(len, scored.continuations))
            return scored, version

    async def embed(self, target: str, texts: Sequence[str]) -> tuple[Embedded, str]:
        """Return one vector per text, and which model version made them.

        Raises: as `generate`.
        """
        async with self._engine(target) as (engine, version):
            size = sum(map(_text_estimate, texts))
            with self._meter.charge(current_principal().subject, prompt_tokens=size, completion_tokens=0) as bill:
                embedded = await engine.embed(texts)
                bill.prompt_tokens = embedded.tokens
            return embedded, version

    @asynccontextmanager
    async def _engine(self, target: str) -> AsyncIterator[tuple[Engine, str]]:
        deployment = await self._resolve(target)
        with self._fleet.use(deployment.name) as engine:
            yield engine, deployment.model_version

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


def _part(response_id: str, model_version: str, piece: Piece, reader: ToolCallReader | None) -> Part:
    if reader is None:
        return Part(response_id, model_version, piece)
    text, calls = reader.push(piece.text)
    if piece.finish:
        rest, more = reader.finish()
        text, calls = text + rest, calls + more
    finish = "tool_calls" if piece.finish == "stop" and reader.num_calls else piece.finish
    return Part(response_id, model_version, replace(piece, text=text, finish=finish), tuple(calls))


def _estimate(prompt: Prompt) -> int:
    """Return about how many tokens a prompt has, before it is known."""
    return sum(_text_estimate(turn.content) for turn in prompt.turns) + _text_estimate(prompt.text)


def _text_estimate(text: str) -> int:
    return len(text.encode()) // 4
