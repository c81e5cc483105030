"""Limits of keys, by a clock of the test's own."""

import contextlib
import math
from datetime import timedelta

import pytest
import pytest_asyncio
from bessemer.api.serve.v1.api_key_pb2 import ApiKey
from bessemer.kernel.clock import ManualClock
from bessemer.kernel.errors import LimitReached
from bessemer.svckit.store import Store
from hypothesis import given
from hypothesis import strategies as st
from serve_svc.app.meter import Bucket, Meter
from serve_svc.app.tables import TABLES
from serve_svc.engine.protocol import Piece

NAME = "projects/p/apiKeys/k"


def test_bucket_fills_in_a_minute_and_no_further():
    bucket = Bucket(60, 0.0, 0.0)
    bucket.refill(15)
    assert (bucket.level, bucket.wait_s(20), bucket.wait_s(61)) == (15, 5, math.inf)
    bucket.refill(1000)
    assert (bucket.level, bucket.wait_s(60), bucket.reset_s) == (60, 0, 0)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), max_size=60))
def test_bucket_never_lets_more_than_a_minutes_worth_and_what_flows_in_through(asks):
    bucket, now_s, taken = Bucket(40, 40.0, 0.0), 0.0, 0
    for pause_s, amount in asks:
        now_s += pause_s
        bucket.refill(now_s)
        if bucket.wait_s(amount) == 0:
            bucket.level -= amount
            taken += amount
    assert taken <= 40 + now_s * 40 / 60 + 1e-6


@pytest_asyncio.fixture
async def metered(tmp_path):
    clock = ManualClock()
    store = Store.open(f"sqlite:///{tmp_path}/serve.db", service="serve", clock=clock, extra=TABLES)
    yield Meter(store, clock), clock
    store.close()


def limited(meter, **limits):
    meter.set_keys({NAME: ApiKey(name=NAME, limits=limits)})


def use(meter, prompt, completion, *, reserve=None):
    wanted = completion if reserve is None else reserve
    with meter.charge(NAME, prompt_tokens=prompt, completion_tokens=wanted) as bill:
        bill.see(Piece("1", "", (), "stop", prompt, completion))


async def test_unused_reservation_is_given_back_and_used_tokens_flow_back(metered):
    meter, clock = metered
    limited(meter, tokens_per_minute=600)
    use(meter, 100, 50, reserve=400)
    assert meter.quota(NAME).tokens.level == 450
    with pytest.raises(LimitReached) as caught:
        use(meter, 100, 0, reserve=400)
    assert caught.value.fields == {"retry_after_s": "5", "limit": "tokens_per_minute"}
    clock.advance(5)
    use(meter, 100, 0, reserve=400)


async def test_failed_request_is_charged_for_what_it_took_and_keeps_no_reservation(metered):
    meter, _ = metered
    limited(meter, tokens_per_minute=600, tokens_per_day=1000)
    with contextlib.suppress(ZeroDivisionError), meter.charge(NAME, prompt_tokens=50, completion_tokens=200) as bill:
        bill.see(Piece("1", "", (1, 2, 3)))
        raise ZeroDivisionError
    (today,) = await meter.usage(NAME, 1)
    assert (today.requests, today.prompt_tokens, today.completion_tokens) == (1, 50, 3)
    use(meter, 47, 500)  # 53 + 547 of 600


async def test_day_counts_what_is_stored_reserved_and_fresh_and_begins_anew(metered):
    meter, clock = metered
    limited(meter, tokens_per_day=100)
    use(meter, 30, 30)
    await meter.flush()
    use(meter, 10, 10)
    with pytest.raises(LimitReached, match="tomorrow"):
        use(meter, 11, 10)
    with meter.charge(NAME, prompt_tokens=10, completion_tokens=5), pytest.raises(LimitReached):
        use(meter, 3, 3)
    clock.advance(timedelta(days=1).total_seconds())
    use(meter, 50, 50)
    days = await meter.usage(NAME, 2)
    assert [(day.requests, day.refused_requests) for day in days] == [(1, 0), (3, 2)]


async def test_who_has_no_key_is_not_limited(metered):
    meter, _ = metered
    limited(meter, requests_per_minute=1)
    for _ in range(3):
        with meter.charge("admin", prompt_tokens=1, completion_tokens=None):
            pass
    assert meter.quota("admin") is None
