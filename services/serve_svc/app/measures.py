"""What is measured of answers: instruments of OpenTelemetry, and the last minutes of each deployment for people.

Names follow OpenTelemetry's semantic conventions for generative AI where they have one; the others begin with
`bessemer.serve`. They stand here and nowhere else. Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from bessemer.api.serve.v1.deployment_pb2 import Deployment
from bessemer.api.serve.v1.deployment_service_pb2 import DeploymentStats
from bessemer.api.serve.v1.rollout_pb2 import Rollout
from bessemer.kernel.errors import BessemerError, Internal, LimitReached, Unavailable
from bessemer.kernel.ids import parent_of
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from serve_svc.app.fleet import Load
from serve_svc.engine.protocol import Piece

__all__ = ["FAULTS", "INSTRUMENTS", "WINDOW_S", "Instrument", "Measures", "Prices", "Stopwatch"]

FAULTS = (Internal, LimitReached, Unavailable)  # of the server; the others are the caller's
WINDOW_S = 300.0
_WINDOW_ANSWERS = 2000
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is exported under which name."""

    name: str
    kind: str  # counter, histogram or gauge
    unit: str
    description: str


DURATION = Instrument("gen_ai.server.request.duration", "histogram", "s", "Time from request to the end of its answer")
TTFT = Instrument("gen_ai.server.time_to_first_token", "histogram", "s", "Time from request to the first token")
TPOT = Instrument("gen_ai.server.time_per_output_token", "histogram", "s", "Time of each token after the first")
WAITED = Instrument("bessemer.serve.queue_time", "histogram", "s", "Time a request waited before its prompt was read")
REQUESTS = Instrument("bessemer.serve.requests", "counter", "{request}", "Requests that ended, by outcome")
TOKENS = Instrument("bessemer.serve.tokens", "counter", "{token}", "Tokens by type: prompt or completion")
COST = Instrument("bessemer.serve.cost", "counter", "{currency}", "Price of the tokens, by the configured prices")
DROPPED = Instrument("bessemer.serve.shadow.dropped", "counter", "{request}", "Requests that a shadow did not hear")
IN_FLIGHT = Instrument("bessemer.serve.in_flight", "gauge", "{request}", "Answers being given, waiting ones included")
OCCUPANCY = Instrument("bessemer.serve.engine.occupancy", "gauge", "1", "Share of the engine's slots in use")
QUEUE = Instrument("bessemer.serve.engine.queue", "gauge", "{request}", "Requests that wait for a slot")
STAGE = Instrument("bessemer.serve.rollout.stage", "gauge", "{stage}", "Stage of a running rollout, from 0")
EVIDENCE = Instrument("bessemer.serve.rollout.evidence", "gauge", "", "Evidence by metric and side: worse or safe")
THRESHOLD = Instrument("bessemer.serve.rollout.threshold", "gauge", "", "Evidence at which the rollout moves")
DIFFERENCE = Instrument("bessemer.serve.rollout.difference", "gauge", "", "Candidate's good share minus baseline's")
INSTRUMENTS = (
    DURATION, TTFT, TPOT, WAITED, REQUESTS, TOKENS, COST, DROPPED, IN_FLIGHT, OCCUPANCY, QUEUE, STAGE, EVIDENCE,
    THRESHOLD, DIFFERENCE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of 1,000 tokens, in whatever currency."""

    prompt_1k: float = 0.0
    completion_1k: float = 0.0

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the price of an answer."""
        return (self.prompt_1k * prompt_tokens + self.completion_1k * completion_tokens) / 1000


@dataclass(slots=True)
class Stopwatch:
    """Times of an answer, in seconds of the monotonic clock; 0 until known."""

    began_s: float = field(default_factory=time.monotonic)
    first_s: float = 0.0  # when the first token came
    last_s: float = 0.0
    prompt_tokens: int = 0
    tokens: int = 0  # generated
    queued_s: float | None = None  # where the engine tells

    def saw(self, piece: Piece) -> None:
        """Note a piece."""
        self.last_s = time.monotonic()
        self.first_s = self.first_s or self.last_s
        self.tokens += len(piece.token_ids)
        if piece.finish:
            self.prompt_tokens, self.tokens = piece.prompt_tokens, piece.completion_tokens
            self.queued_s = piece.queued_s

    @property
    def ttft_s(self) -> float:
        """Time to the first token."""
        return self.first_s - self.began_s

    @property
    def tpot_s(self) -> float | None:
        """Time per further token; None for answers of one token."""
        return (self.last_s - self.first_s) / (self.tokens - 1) if self.tokens > 1 else None


@dataclass(slots=True)
class _Totals:
    """A deployment since the service started, and its last answers."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    recent: deque[Stopwatch] = field(default_factory=lambda: deque(maxlen=_WINDOW_ANSWERS))


class Measures:
    """The instruments of a service."""

    def __init__(self, prices: Prices, *, loads: Callable[[], Mapping[str, Load]]) -> None:
        meter = metrics.get_meter("bessemer.serve")
        self._prices = prices
        self._loads = loads
        self._totals: dict[str, _Totals] = {}
        self._rollouts: dict[str, Rollout] = {}
        self._counters = {
            one.name: meter.create_counter(one.name, unit=one.unit, description=one.description)
            for one in INSTRUMENTS
            if one.kind == "counter"
        }
        self._histograms = {
            one.name: meter.create_histogram(
                one.name, unit=one.unit, description=one.description, explicit_bucket_boundaries_advisory=_SECONDS
            )
            for one in INSTRUMENTS
            if one.kind == "histogram"
        }
        for one in INSTRUMENTS:
            if one.kind == "gauge":
                callbacks = [self._reader(one)]
                meter.create_observable_gauge(one.name, callbacks, unit=one.unit, description=one.description)

    @contextmanager
    def answer(self, deployment: Deployment, *, shadow: bool = False) -> Iterator[Stopwatch]:
        """Measure an answer, however it ends."""
        times, outcome = Stopwatch(), "answered"
        try:
            yield times
        except (GeneratorExit, asyncio.CancelledError):
            outcome = "cancelled"
            raise
        except FAULTS as error:
            outcome = error.reason.lower()
            self._total(deployment.name).errors += 1
            raise
        except BessemerError:
            outcome = "refused"
            raise
        finally:
            self._note(deployment, times, outcome, shadow=shadow)

    def shadow_dropped(self, deployment: Deployment) -> None:
        """Count a request that a shadow did not hear."""
        self._counters[DROPPED.name].add(1, _attributes(deployment.name))

    def set_rollouts(self, rollouts: Iterable[Rollout]) -> None:
        """Export where these rollouts stand, and no others."""
        self._rollouts = {rollout.name: rollout for rollout in rollouts}

    def stats(self, deployment: Deployment) -> DeploymentStats:
        """Return how a deployment does."""
        totals, since = self._total(deployment.name), time.monotonic() - WINDOW_S
        recent = [times for times in totals.recent if times.last_s >= since]
        ttft = sorted(times.ttft_s for times in recent)
        tpot = sorted(times.tpot_s for times in recent if times.tpot_s is not None)
        return DeploymentStats(
            deployment=deployment.name,
            model_version=deployment.model_version,
            state=deployment.state,
            requests=totals.requests,
            errors=totals.errors,
            prompt_tokens=totals.prompt_tokens,
            completion_tokens=totals.completion_tokens,
            cost=totals.cost,
            in_flight=found.in_flight if (found := self._loads().get(deployment.name)) else 0,
            requests_per_s=len(recent) / WINDOW_S,
            tokens_per_s=sum(times.tokens for times in recent) / WINDOW_S,
            ttft_p50_s=_quantile(ttft, 0.5),
            ttft_p95_s=_quantile(ttft, 0.95),
            tpot_p50_s=_quantile(tpot, 0.5),
            tpot_p95_s=_quantile(tpot, 0.95),
        )

    def _note(self, deployment: Deployment, times: Stopwatch, outcome: str, *, shadow: bool) -> None:
        totals, cost = self._total(deployment.name), self._prices.of(times.prompt_tokens, times.tokens)
        totals.requests += 1
        totals.prompt_tokens += times.prompt_tokens
        totals.completion_tokens += times.tokens
        totals.cost += cost
        labels = _attributes(deployment.name) | {"shadow": shadow}
        self._counters[REQUESTS.name].add(1, labels | {"outcome": outcome})
        self._counters[TOKENS.name].add(times.prompt_tokens, labels | {"type": "prompt"})
        self._counters[TOKENS.name].add(times.tokens, labels | {"type": "completion"})
        self._counters[COST.name].add(cost, labels)
        if not times.first_s:
            return
        totals.recent.append(times)
        self._histograms[DURATION.name].record(times.last_s - times.began_s, labels)
        self._histograms[TTFT.name].record(times.ttft_s, labels)
        if times.queued_s is not None:
            self._histograms[WAITED.name].record(times.queued_s, labels)
        if times.tpot_s is not None:
            self._histograms[TPOT.name].record(times.tpot_s, labels)

    def _total(self, deployment: str) -> _Totals:
        return self._totals.setdefault(deployment, _Totals())

    def _reader(self, instrument: Instrument) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_options: CallbackOptions) -> list[Observation]:
            if instrument in {IN_FLIGHT, OCCUPANCY, QUEUE}:
                return [
                    Observation(value, _attributes(name))
                    for name, load in self._loads().items()
                    if (value := _load(instrument, load)) is not None
                ]
            return [found for rollout in list(self._rollouts.values()) for found in _standing(instrument, rollout)]

        return read


def _load(instrument: Instrument, load: Load) -> float | None:
    if instrument is IN_FLIGHT:
        return load.in_flight
    if not load.capacity:
        return None
    return (
        min(1.0, load.in_flight / load.capacity) if instrument is OCCUPANCY else max(0, load.in_flight - load.capacity)
    )


def _standing(instrument: Instrument, rollout: Rollout) -> list[Observation]:
    labels = {"endpoint": parent_of(rollout.name), "rollout": rollout.name}
    if instrument is STAGE:
        return [Observation(rollout.stage, labels)]
    found = []
    for one in rollout.evidence:
        mine = labels | {"metric": one.metric}
        if instrument is DIFFERENCE:
            found.append(Observation(one.difference, mine))
            continue
        worse, safe = (one.worse, one.safe) if instrument is EVIDENCE else (one.worse_threshold, one.safe_threshold)
        found += [Observation(worse, mine | {"side": "worse"}), Observation(safe, mine | {"side": "safe"})]
    return found


def _attributes(deployment: str) -> dict[str, str | bool]:
    return {"endpoint": parent_of(deployment), "deployment": deployment}


def _quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0
