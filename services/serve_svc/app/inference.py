"""Answering: find the engine behind an endpoint, follow its pieces, keep the answer for feedback."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from bessemer.api.serve.v1 import deployment_pb2 as api
from bessemer.kernel.errors import FailedPrecondition, Unavailable
from bessemer.kernel.ids import new_id, project_of
from bessemer.svckit.context import Principal, current_principal
from bessemer.svckit.store import Store, Tx
from sqlalchemy import select

from serve_svc.app.adapters import Residents, adapter_of
from serve_svc.app.answers import Answers
from serve_svc.app.drift_feed import DriftFeed
from serve_svc.app.fleet import Fleet
from serve_svc.app.measures import FAULTS, Measures, Stopwatch
from serve_svc.app.meter import Bill, Meter
from serve_svc.app.outcomes import record_failure, record_success
from serve_svc.app.routes import Route, Trial, resolve
from serve_svc.app.shadows import Shadows
from serve_svc.app.tables import SERVING
from serve_svc.codec import prompt_json
from serve_svc.engine.protocol import Embedded, Piece, Prompt, Sampling, Scored, Tokenized
from serve_svc.engine.tensor_protocol import Spec, Tensor
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

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        answers: Answers,
        feed: DriftFeed,
        shadows: Shadows,
        *,
        residents: Residents,
        meter: Meter,
        measures: Measures,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._answers = answers
        self._feed = feed
        self._shadows = shadows
        self._residents = residents
        self._meter = meter
        self._measures = measures
        self._running: dict[str, _Running] = {}

    async def generate(
        self,
        target: str,
        prompt: Prompt,
        sampling: Sampling,
        *,
        user: str = "",
        adapter: str = "",
        single_tool_call: bool = False,
        live: bool = True,
    ) -> AsyncGenerator[Part, None]:
        """Yield parts of the answer; closing the generator early frees the slot.

        Requests of one `user`, in the caller's words, go to one deployment as long as the traffic stays as it is.
        `adapter` is the id of adapters that a deployment of the target has. Answers that are not `live` have no user
        who might say something of them: they are kept nowhere and are no evidence of anything.

        Raises: as the engine, as `resolve`, and as `Meter.charge`.
        """
        response_id, subject, texts = new_id("r"), current_principal().subject, list[str]()
        deployment, route = await self._choose(target, user, response_id, adapter)
        if not live:
            route = replace(route, shadow=None, trial=None)
        names, version = [tool.name for tool in prompt.tools], _version(deployment, route)
        async with self._answering(deployment, route, prompt, sampling) as (engine, held, bill, times):
            reader = ToolCallReader(engine.tool_format, names, single=single_tool_call) if names else None
            self._running[response_id] = _Running(target, subject, engine)
            try:
                async with aclosing(engine.generate(prompt, sampling, response_id, held)) as pieces:
                    async for piece in pieces:
                        texts.append(piece.text)
                        bill.see(piece)
                        times.saw(piece)
                        if piece.finish and live:
                            trial = _trial(deployment, route) if piece.finish != "abort" else None
                            await self._answers.record(
                                response_id,
                                project=project_of(target),
                                model_version=version,
                                prompt_json=prompt_json(prompt),
                                answer="".join(texts),
                                also=partial(record_success, trial=trial, response_id=response_id, times=times),
                            )
                            self._feed.offer(target, response_id, prompt, piece, times.last_s - times.began_s)
                            self._shadows.mirror(route, prompt, sampling, times)
                        yield _part(response_id, version, piece, reader)
            finally:
                del self._running[response_id]

    @asynccontextmanager
    async def _answering(
        self, deployment: api.Deployment, route: Route, prompt: Prompt, sampling: Sampling
    ) -> AsyncIterator[tuple[Engine, str, Bill, Stopwatch]]:
        """Hold an engine and, by the name it has there, an adapter for an answer; charge and measure it.

        Faults of the server are evidence, spent quotas not.
        """
        subject, size = current_principal().subject, _estimate(prompt)
        with self._meter.charge(subject, prompt_tokens=size, completion_tokens=sampling.max_tokens) as bill:
            try:
                with self._measures.answer(deployment) as times, self._fleet.use(deployment.name) as engine:
                    async with self._held(engine, deployment, route) as held:
                        yield engine, held, bill, times
            except FAULTS:
                await self._note_failure(deployment, _trial(deployment, route))
                raise

    @asynccontextmanager
    async def _held(self, engine: Engine, deployment: api.Deployment, route: Route) -> AsyncIterator[str]:
        found = adapter_of(deployment, route.adapter)
        if found is None:
            yield ""
            return
        async with self._residents.hold(engine, found.manifest) as name:
            yield name

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

    async def is_ready(self, target: str) -> bool:
        """Say whether an endpoint answers now; NotFound if there is none."""
        try:
            async with self._engine(target):
                return True
        except (Unavailable, FailedPrecondition):
            return False

    async def tensors(self, target: str) -> tuple[Sequence[Spec], Sequence[Spec], str]:
        """Return what a model takes and gives as tensors, and which model version it is.

        Raises: Unimplemented where the endpoint answers prompts.
        """
        async with self._engine(target) as (engine, version):
            return *engine.tensors(), version

    async def infer(
        self, target: str, tensors: Sequence[Tensor], wanted: Sequence[str]
    ) -> tuple[Sequence[Tensor], str]:
        """Compute tensors, and say which model version did.

        Raises: as `Engine.infer`, as `resolve`, and as `Meter.charge`.
        """
        deployment, _ = await self._choose(target, "", "")
        with (
            self._meter.charge(current_principal().subject, prompt_tokens=0, completion_tokens=0),
            self._measures.answer(deployment),
            self._fleet.use(deployment.name) as engine,
        ):
            return await engine.infer(tensors, wanted), deployment.model_version

    @asynccontextmanager
    async def _engine(self, target: str) -> AsyncIterator[tuple[Engine, str]]:
        deployment, _ = await self._choose(target, "", "")
        with self._fleet.use(deployment.name) as engine:
            yield engine, deployment.model_version

    async def _choose(
        self, target: str, user: str, response_id: str, adapter: str = ""
    ) -> tuple[api.Deployment, Route]:
        """Return who answers: who is to, or a stand-in while that one's engine is away, which counts against it."""
        for _ in range(2):  # another deployment may have taken over between our reading and now
            route = await self._store.read(lambda tx: resolve(tx, target, user, response_id, adapter))
            for deployment in route.deployments:
                if self._fleet.has(deployment.name):
                    if deployment.name != route.deployments[0].name:
                        await self._note_failure(route.deployments[0], route.trial)
                    return deployment, route
        return route.deployments[0], route

    async def _note_failure(self, deployment: api.Deployment, trial: Trial | None) -> None:
        if trial is not None and self._fleet.knows(deployment.name):
            await self._store.write(lambda tx: record_failure(tx, trial))

    async def endpoints(self, principal: Principal) -> list[tuple[api.Endpoint, list[str]]]:
        """Return the endpoints with a deployment that a caller may use, and the ids of the adapters that each has."""

        def read(tx: Tx) -> list[tuple[api.Endpoint, list[str]]]:
            names = tx.connection.execute(select(SERVING.c.endpoint).distinct().order_by(SERVING.c.endpoint)).scalars()
            found = [tx.get(name, api.Endpoint) for name in names if principal.may_enter(project_of(name))]
            return [(endpoint, _adapters(tx, endpoint)) for endpoint in found]

        return await self._store.read(read)


def _trial(deployment: api.Deployment, route: Route) -> Trial | None:
    """Return the trial that an answer is evidence in; that of a stand-in is none."""
    return route.trial if deployment.name == route.deployments[0].name else None


def _version(deployment: api.Deployment, route: Route) -> str:
    """Return the model version that answers: that of the adapters, if some are asked for."""
    found = adapter_of(deployment, route.adapter)
    return deployment.model_version if found is None else found.model_version


def _adapters(tx: Tx, endpoint: api.Endpoint) -> list[str]:
    serving = [tx.get(share.deployment, api.Deployment) for share in endpoint.traffic if share.percent]
    return sorted({one.id for deployment in serving for one in deployment.adapters})


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
