"""A monitor: features with their references, a budget of false alarms, and alarms that stay until somebody looks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from eval_svc.domain.drift.alarms import Alarm, Cause, cause_of, examples_wanted
from eval_svc.domain.drift.features import Feature, Kind, Role, Row
from eval_svc.domain.drift.performance import Estimate, RelationWatch
from eval_svc.domain.drift.state import Tree, pack, unpack
from eval_svc.domain.drift.watches import TextWatch, Watch, make_watch

__all__ = ["Level", "Monitor", "Plan"]

BUDGET_REQUESTS = 10_000  # the budget says how many false alarms are accepted in so many requests
_SIZE_MIN = 100  # of a feature that few requests have
_RECENT = 1 / 200
_EXEMPLARS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to watch. `false_alarms` is the expected number per 10,000 requests that are like the reference."""

    features: Sequence[Feature]
    num_reference: int
    false_alarms: float

    def threshold(self, feature: Feature) -> float:
        """Return the evidence at which a feature alarms; the budget is shared by weight, so the sum keeps it."""
        weight = feature.weight / math.fsum(one.weight for one in self.features)
        return BUDGET_REQUESTS / (self.false_alarms * weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Where a feature stands."""

    feature: str
    armed: bool
    alarmed: bool
    num_reference: int
    evidence: float
    threshold: float
    before: float | None
    now: float | None


@dataclass(slots=True)
class _Track:
    """What is kept of a feature beside its watch."""

    armed: bool = False
    alarmed: bool = False
    num_valued: int = 0
    before: float = 0.0
    now: float = 0.0
    exemplars: list[tuple[int, str]] = field(default_factory=list)  # number and id of requests


class Monitor:
    """The state of a monitor; `observe` takes constant time and memory once the reference is complete."""

    def __init__(self, plan: Plan, data: bytes = b"") -> None:
        state: Tree | None = unpack(data) if data else None
        self.plan = plan
        self.seen: int = state["seen"] if state else 0
        self._tracks: dict[str, _Track] = {}
        self._watches: dict[str, Watch] = {}
        for feature in plan.features:
            saved: Any = state["features"][feature.name] if state else None
            self._tracks[feature.name] = _track(saved["track"]) if saved else _Track()
            self._watches[feature.name] = make_watch(feature, saved["watch"] if saved else None)

    @property
    def collecting(self) -> bool:
        """Whether requests still go into the reference."""
        return self.seen < self.plan.num_reference

    def observe(self, row: Row) -> list[Alarm]:
        """Take a request; return the alarms it raises, at most one per feature until `rearm`."""
        self.seen += 1
        reference, alarms = self.seen <= self.plan.num_reference, []
        for feature in self.plan.features:
            watch, track = self._watches[feature.name], self._tracks[feature.name]
            if isinstance(watch, RelationWatch) and not reference:
                watch.weigh(row)
            if not track.armed:
                self._collect(feature, row)
            elif not track.alarmed:
                alarm = self._look(feature, row, watch, track)
                alarms += [alarm] if alarm else []
        return alarms

    def concerns(self, row: Row) -> bool:
        """Say whether a request has any feature that is watched."""
        values = row.numbers.keys() | row.flags.keys() | row.categories.keys()
        return any(one.name in values or (one.kind is Kind.TEXT and row.buckets) for one in self.plan.features)

    def rearm(self, names: Sequence[str]) -> None:
        """Watch features again with the reference they had."""
        for name in names:
            track = self._tracks[name]
            if track.armed:
                self._watches[name].rearm()
                track.alarmed, track.exemplars = False, []

    def levels(self) -> list[Level]:
        """Return where each feature stands."""
        found = []
        for feature in self.plan.features:
            watch, track = self._watches[feature.name], self._tracks[feature.name]
            valued = track.num_valued > 0
            found.append(
                Level(
                    feature=feature.name,
                    armed=track.armed,
                    alarmed=track.alarmed,
                    num_reference=watch.size,
                    evidence=watch.level,
                    threshold=self.plan.threshold(feature),
                    before=track.before if valued else None,
                    now=track.now if valued else None,
                )
            )
        return found

    def estimate(self) -> Estimate | None:
        """Return the share of good outcomes that is to be expected now, labels or not."""
        watches = (watch for watch in self._watches.values() if isinstance(watch, RelationWatch))
        return next((watch.estimate() for watch in watches), None)

    def dump(self) -> bytes:
        """Return the state; `Monitor(plan, data)` goes on from it."""
        features = {
            name: {
                "track": [t.armed, t.alarmed, t.num_valued, t.before, t.now, [list(one) for one in t.exemplars]],
                "watch": self._watches[name].dump(),
            }
            for name, t in self._tracks.items()
        }
        return pack({"seen": self.seen, "features": features})

    def _collect(self, feature: Feature, row: Row) -> None:
        watch, track = self._watches[feature.name], self._tracks[feature.name]
        if watch.collect(row, _noise(row.id, feature.name)) and (value := watch.value(row)) is not None:
            track.num_valued += 1
            track.before += (value - track.before) / track.num_valued
            track.now = track.before
        if self.seen >= self.plan.num_reference and watch.size >= min(_SIZE_MIN, self.plan.num_reference):
            watch.arm()
            track.armed = True
            if feature.kind is Kind.TEXT:  # one in twenty by construction
                track.num_valued, track.before, track.now = watch.size, 0.05, 0.05

    def _look(self, feature: Feature, row: Row, watch: Watch, track: _Track) -> Alarm | None:
        seen = watch.observe(row, _noise(row.id, feature.name), self.seen)
        if seen is None:
            return None
        level, speaks = seen
        if (value := watch.value(row)) is not None:
            track.now += (value - track.now) * _RECENT
        if speaks:
            track.exemplars = [*track.exemplars[1 - _EXEMPLARS :], (self.seen, row.id)]
        threshold = self.plan.threshold(feature)
        if level < threshold:
            return None
        track.alarmed = True
        finding, since = watch.finding()
        relation = feature.kind is Kind.RELATION  # told apart from what inputs explain by its bins
        cause = Cause.CONCEPT if relation else cause_of(feature.role, self._progress())
        text = isinstance(watch, TextWatch)
        first = max(since, track.exemplars[0][0]) if track.exemplars else since
        examples = [one for number, one in track.exemplars if number >= since]
        share = len(examples) / (self.seen - first + 1)
        return Alarm(
            feature=feature.name,
            role=feature.role,
            cause=cause,
            finding=finding,
            request=self.seen,
            since=since,
            evidence=level,
            threshold=threshold,
            before=track.before if track.num_valued else None,
            now=track.now if track.num_valued else None,
            exemplars=tuple(examples),
            buckets=tuple(watch.buckets) if isinstance(watch, TextWatch) else (),
            num_wanted=examples_wanted(share, watch.size) if text else 0,
        )

    def _progress(self) -> dict[Role, float]:
        most: dict[Role, float] = {}
        for feature in self.plan.features:
            track, level = self._tracks[feature.name], self._watches[feature.name].level
            share = math.log(max(1.0, level)) / math.log(self.plan.threshold(feature))
            most[feature.role] = max(most.get(feature.role, 0.0), 1.0 if track.alarmed else share)
        return most


def _track(saved: list[Any]) -> _Track:
    armed, alarmed, num_valued, before, now, exemplars = saved
    return _Track(armed, alarmed, num_valued, before, now, [(number, one) for number, one in exemplars])


def _noise(row_id: str, feature: str) -> float:
    """Return a number in [0, 1) that nobody chose; the same for the same request."""
    return int.from_bytes(hashlib.blake2b(f"{feature}\0{row_id}".encode(), digest_size=6).digest()) / 2**48
