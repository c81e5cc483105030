from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from bessemer.artifacts.order import Order, share
from hypothesis import given
from hypothesis import strategies as st

DIGEST = "d" * 64


def order_of(rows, *, window=4, seed=0, digest=DIGEST):
    """Shards of one byte each, so that windows of 4 bytes hold 4 shards."""
    return Order(rows, [1] * len(rows), digest=digest, seed=seed, window_bytes=window)


def numbers(order, rows, epoch=0):
    """Return the row numbers of a pass, counted over all shards, in order of training."""
    first = np.cumsum([0, *rows])
    start = epoch * len(order)
    return np.array([first[s] + r for s, r in (order.locate(p) for p in range(start, start + len(order)))])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5), st.integers(0, 3))
def test_order_of_any_shards_takes_every_row_once_per_pass(rows, window, epoch):
    order = order_of(rows, window=window)
    assert sorted(numbers(order, rows, epoch)) == list(range(sum(rows)))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5), st.data())
def test_order_asked_at_any_position_first_is_the_same(rows, window, data):
    known = order_of(rows, window=window)
    positions = data.draw(st.lists(st.integers(0, 3 * sum(rows)), min_size=1, max_size=5))
    assert [order_of(rows, window=window).locate(p) for p in positions] == [known.locate(p) for p in positions]


def test_windows_cover_a_pass_and_the_first_is_one_shard():
    order = order_of([3] * 10)
    windows = [order.window(0)]
    while windows[-1].stop < len(order):
        windows.append(order.window(windows[-1].stop))
    assert [len(window.shards) for window in windows] == [1, 4, 4, 1]
    assert all(before.stop == after.start for before, after in pairwise(windows))
    assert order.window(30).start == 30
    assert order.window(29) == windows[-1]


def test_order_depends_on_digest_seed_and_pass():
    rows = [50] * 4
    base = numbers(order_of(rows), rows)
    for other in (
        numbers(order_of(rows, seed=1), rows),
        numbers(order_of(rows, digest="e" * 64), rows),
        numbers(order_of(rows), rows, epoch=1),
    ):
        assert not np.array_equal(base, other)


def test_order_is_the_one_of_every_release():
    order = order_of([3, 2, 4, 1, 2], window=2)
    places = [(3, 0), (0, 0), (2, 1), (2, 3), (1, 0), (3, 0), (2, 3), (1, 0), (0, 0)]
    assert [order.locate(p) for p in (0, 1, 2, 5, 11, 12, 13, 25, 1000)] == places


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [8, 12, 7])
def test_shares_of_the_ranks_are_the_step(world, count):
    parts = [share(40, count, rank=rank, world=world) for rank in range(world)]
    assert [position for part in parts for position in part] == list(range(40, 40 + count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def quality(places):
    """Return serial correlation, mean displacement and mean distance in time of neighbouring rows, in passes."""
    length = len(places)
    times = np.argsort(places)
    return (
        np.corrcoef(places[:-1], places[1:])[0, 1],
        np.abs(places - np.arange(length)).mean() / length,
        np.abs(np.diff(times)).mean() / length,
    )


def test_shuffle_quality_is_the_stated_one():
    rows = [200] * 40
    measured = np.mean([quality(numbers(order_of(rows, seed=s), rows)) for s in range(12)], axis=0)
    full = quality(np.random.default_rng(0).permutation(8000))
    assert measured == pytest.approx([0.23, 0.34, 0.03], abs=0.02)
    assert full == pytest.approx([0.0, 0.33, 0.33], abs=0.03)


def test_shuffle_of_one_window_is_a_full_one():
    rows = [2000] * 4
    assert len(order_of(rows).window(0).shards) == 4
    assert quality(numbers(order_of(rows), rows)) == pytest.approx([0.0, 0.33, 0.33], abs=0.03)
