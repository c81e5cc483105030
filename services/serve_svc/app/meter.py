"""What API keys may use and have used: buckets that refill by the second, days that are counted in the database.

A request reserves what it may need and is charged what it took, so that many requests at once cannot overdraw a limit.
Minutes are counted per replica of the service, days over all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, timedelta

from bessemer.api.serve.v1.api_key_pb2 import ApiKey, ApiKeyLimits, ApiKeyUsage
from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import LimitReached
from bessemer.svckit.store import Store, Tx
from sqlalchemy import Row, insert, select, update

from serve_svc.app.tables import API_KEY_USAGE
from serve_svc.engine.protocol import Piece

__all__ = ["Bill", "Bucket", "Meter", "Quota"]

COMPLETION_TOKENS_DEFAULT = 256  # as SamplingParams.max_tokens promises
_MINUTE_S = 60.0
_DAY_S = 86_400.0
_COLUMNS = ("requests", "prompt_tokens", "completion_tokens", "refused_requests")


@dataclass(slots=True)
class Bucket:
    """Holds what may be used now: at most `capacity`, filled in a minute; no limit with capacity 0."""

    capacity: int
    level: float
    seen_s: float

    def refill(self, now_s: float) -> None:
        """Add what came in since the last look."""
        self.level = min(self.capacity, self.level + (now_s - self.seen_s) * self.capacity / _MINUTE_S)
        self.seen_s = now_s

    def wait_s(self, amount: float) -> float:
        """Return the seconds until so much is there; infinity for more than it ever holds."""
        if not self.capacity or amount <= self.level:
            return 0.0
        return math.inf if amount > self.capacity else (amount - self.level) * _MINUTE_S / self.capacity

    @property
    def reset_s(self) -> float:
        """Seconds until it is full."""
        return (self.capacity - self.level) * _MINUTE_S / self.capacity if self.capacity else 0.0


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left of a key's minute, for the headers that tell its holder."""

    requests: Bucket
    tokens: Bucket


@dataclass(slots=True)
class Bill:
    """What a request turned out to use."""

    prompt_tokens: int
    completion_tokens: int = 0

    def see(self, piece: Piece) -> None:
        """Count a piece of an answer."""
        self.completion_tokens += len(piece.token_ids)
        if piece.finish:
            self.prompt_tokens, self.completion_tokens = piece.prompt_tokens, piece.completion_tokens


@dataclass(slots=True)
class _Account:
    """A key in memory: `fresh` is what was used and is not in the database yet, `stored` the day's use that is."""

    limits: ApiKeyLimits
    quota: Quota
    day: str = ""
    stored: int = 0
    reserved: int = 0
    fresh: dict[str, dict[str, int]] = field(default_factory=dict)

    def use(self, day: str, **amounts: int) -> None:
        """Add to what is not in the database yet."""
        counts = self.fresh.setdefault(day, dict.fromkeys(_COLUMNS, 0))
        for column, amount in amounts.items():
            counts[column] += amount

    def used_today(self, day: str) -> int:
        """Return tokens used and reserved in a day."""
        fresh = self.fresh.get(day, {})
        stored = self.stored if self.day == day else 0
        return stored + self.reserved + fresh.get("prompt_tokens", 0) + fresh.get("completion_tokens", 0)


class Meter:
    """Accounts of the keys that were told of; whoever else calls is not limited."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._accounts: dict[str, _Account] = {}

    def set_keys(self, keys: Mapping[str, ApiKey]) -> None:
        """Take the keys as they are now; what they used stays counted."""
        for name, key in keys.items():
            account = self._accounts.get(name)
            if account is None or account.limits != key.limits:
                quota = Quota(
                    _full(key.limits.requests_per_minute, self._clock), _full(key.limits.tokens_per_minute, self._clock)
                )
                if account is None:
                    self._accounts[name] = _Account(key.limits, quota)
                else:
                    account.limits, account.quota = key.limits, quota

    @contextmanager
    def charge(self, subject: str, *, prompt_tokens: int, completion_tokens: int | None) -> Iterator[Bill]:
        """Reserve what a request may need, and charge what its bill says in the end.

        Raises: LimitReached with the time to wait.
        """
        bill = Bill(prompt_tokens)
        account = self._accounts.get(subject)
        if account is None:
            yield bill
            return
        wanted = COMPLETION_TOKENS_DEFAULT if completion_tokens is None else completion_tokens
        reserved = prompt_tokens + wanted
        self._admit(account, reserved)
        account.reserved += reserved
        try:
            yield bill
        finally:
            account.reserved -= reserved
            account.quota.tokens.level += reserved - bill.prompt_tokens - bill.completion_tokens
            account.use(self._day(), prompt_tokens=bill.prompt_tokens, completion_tokens=bill.completion_tokens)

    def quota(self, subject: str) -> Quota | None:
        """Return what is left of a key's minute; None for whoever is not limited."""
        account = self._accounts.get(subject)
        if account is None:
            return None
        for bucket in (account.quota.requests, account.quota.tokens):
            bucket.refill(self._clock.monotonic())
        return account.quota

    async def flush(self) -> None:
        """Write what was used into the database, and learn what other replicas used."""
        day, taken = self._day(), {}
        for name, account in self._accounts.items():
            if account.fresh:
                taken[name], account.fresh = account.fresh, {}

        def write(tx: Tx) -> dict[str, int]:
            for name, days in taken.items():
                for each, counts in days.items():
                    _add(tx, name, each, counts)
            today = select(API_KEY_USAGE).where(API_KEY_USAGE.c.day == day)
            return {row.api_key: row.prompt_tokens + row.completion_tokens for row in tx.connection.execute(today)}

        try:
            used = await (self._store.write(write) if taken else self._store.read(write))
        except BaseException:
            for name, days in taken.items():
                for each, counts in days.items():
                    self._accounts[name].use(each, **counts)
            raise
        for name, account in self._accounts.items():
            account.day, account.stored = day, used.get(name, 0)

    async def usage(self, name: str, days: int) -> list[ApiKeyUsage]:
        """Return what a key used in each of the last days with any use, newest first."""
        await self.flush()
        oldest = self._day(days - 1)
        mine = (
            select(API_KEY_USAGE)
            .where(API_KEY_USAGE.c.api_key == name, API_KEY_USAGE.c.day >= oldest)
            .order_by(API_KEY_USAGE.c.day.desc())
        )
        rows = await self._store.read(lambda tx: tx.connection.execute(mine).all())
        return [_usage(row) for row in rows]

    def _admit(self, account: _Account, tokens: int) -> None:
        now_s, day = self._clock.monotonic(), self._day()
        requests, budget = account.quota.requests, account.quota.tokens
        requests.refill(now_s)
        budget.refill(now_s)
        problem = _problem(account, tokens, used_today=account.used_today(day), left_s=self._day_left_s())
        if problem is not None:
            account.use(day, refused_requests=1)
            raise problem
        requests.level -= 1
        budget.level -= tokens
        account.use(day, requests=1)

    def _day(self, back: int = 0) -> str:
        return (self._clock.now() - timedelta(days=back)).astimezone(UTC).date().isoformat()

    def _day_left_s(self) -> float:
        return _DAY_S - self._clock.now().timestamp() % _DAY_S


def _problem(account: _Account, tokens: int, *, used_today: int, left_s: float) -> LimitReached | None:
    """Return why a request is refused, or None."""
    limits = account.limits
    if limits.tokens_per_day and used_today + tokens > limits.tokens_per_day:
        text = f"this key's {limits.tokens_per_day} tokens of today are used ({used_today}); try again tomorrow"
        return LimitReached(text, retry_after_s=math.ceil(left_s), limit="tokens_per_day")
    wait_s = account.quota.tokens.wait_s(tokens)
    if math.isinf(wait_s):
        text = f"the request may take {tokens} tokens, this key {limits.tokens_per_minute} a minute; ask for fewer"
        return LimitReached(text, limit="tokens_per_minute")
    name = "tokens_per_minute"
    if (requests_wait_s := account.quota.requests.wait_s(1)) > wait_s:
        wait_s, name = requests_wait_s, "requests_per_minute"
    if wait_s > 0:
        text = f"this key may use {getattr(limits, name)} {name.replace('_', ' ')}; try again in {wait_s:.1f} s"
        return LimitReached(text, retry_after_s=math.ceil(wait_s), limit=name)
    return None


def _full(capacity: int, clock: Clock) -> Bucket:
    return Bucket(capacity, float(capacity), clock.monotonic())


def _add(tx: Tx, name: str, day: str, counts: Mapping[str, int]) -> None:
    mine = (API_KEY_USAGE.c.api_key == name, API_KEY_USAGE.c.day == day)
    if tx.connection.execute(select(API_KEY_USAGE.c.day).where(*mine)).first() is None:
        tx.connection.execute(insert(API_KEY_USAGE).values(api_key=name, day=day, **counts))
        return
    sums = {column: API_KEY_USAGE.c[column] + amount for column, amount in counts.items()}
    tx.connection.execute(update(API_KEY_USAGE).where(*mine).values(sums))


def _usage(row: Row[tuple[str, str, int, int, int, int]]) -> ApiKeyUsage:
    return ApiKeyUsage(day=row.day, **{column: getattr(row, column) for column in _COLUMNS})
