"""Plans and orders of mixtures: exact sums, caps, proportions of every prefix, the same rows every time."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from fractions import Fraction

import pytest
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.mixture_pb2 import Mixture, MixtureComponent, MixturePhase
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.interleave import Interleave
from bessemer.artifacts.mixture import (
    Cap,
    Component,
    Phase,
    components_of,
    phases_of,
    plan,
    read_mixture,
    rows_for,
    tokens_of,
    write_mixture,
)
from bessemer.kernel.errors import DataLoss
from bessemer.svckit.objects_files import FileObjects
from hypothesis import assume, given
from hypothesis import strategies as st

DEVIATION_MAX = 1.7
counts = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 90)), min_size=1, max_size=12)
sizes = st.builds(
    lambda rows, per_row, epochs_max, tokens_max: Component(
        rows, rows * per_row + rows // 2, epochs_max, tokens_max and tokens_max * per_row
    ),
    st.integers(1, 2_000),
    st.integers(1, 600),
    st.floats(0.01, 16),
    st.none() | st.integers(1, 3_000),
)


@st.composite
def cases(draw):
    """Return components, phases and a number of rows."""
    components = draw(st.lists(sizes, min_size=1, max_size=6))
    weights = st.lists(
        st.sampled_from([0.0, 1e-9, 0.1, 1.0, 3.0, 1e6]), min_size=len(components), max_size=len(components)
    )
    phases = draw(
        st.lists(
            st.builds(Phase, st.floats(1e-6, 1e6), weights.filter(any).map(tuple)),
            min_size=1,
            max_size=4,
        )
    )
    return components, phases, draw(st.integers(0, 200) | st.integers(0, 5_000))


@given(counts)
def test_interleave_any_prefix_is_close_to_the_shares(rows):
    order, total = Interleave(rows), sum(rows)
    given_rows = [0] * len(rows)
    for place in range(total):
        source, number = order.at(place)
        assert number == given_rows[source]  # a source's rows come in order, none twice
        given_rows[source] += 1
        worst = max(abs(seen - (place + 1) * count / total) for seen, count in zip(given_rows, rows, strict=True))
        assert worst < DEVIATION_MAX
    assert given_rows == rows


@pytest.mark.parametrize(
    "rows",
    [
        [9_000, *[10] * 100],
        [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987],
        [2**n for n in range(13)],
        [1] * 500,
    ],
)
def test_interleave_of_many_or_very_unequal_sources_stays_within_the_same_bound(rows):
    order, total = Interleave(rows), sum(rows)
    seen = [0] * len(rows)
    worst = 0.0
    for place in range(total):
        seen[order.at(place)[0]] += 1
        worst = max(worst, *(abs(n - (place + 1) * count / total) for n, count in zip(seen, rows, strict=True)))
    assert worst < DEVIATION_MAX


def test_interleave_finds_a_row_of_a_trillion_without_counting_to_it():
    order = Interleave([7 * 10**11, 2 * 10**11, 10**11])
    tracemalloc.start()
    source, number = order.at(987_654_321_012)
    assert tracemalloc.get_traced_memory()[1] < 10_000
    tracemalloc.stop()
    assert abs(number - 987_654_321_012 * (0.7, 0.2, 0.1)[source]) < DEVIATION_MAX


@pytest.mark.parametrize("place", [-1, 5])
def test_interleave_outside_is_an_index_error(place):
    with pytest.raises(IndexError, match="of 5"):
        Interleave([2, 3]).at(place)


@given(cases())
def test_plan_sums_are_exact_and_caps_are_kept(case):
    components, phases, rows = case
    made = plan(components, phases, rows)
    assert sum(map(sum, made.wanted)) == rows
    assert len(made) + made.rows_short == rows
    assert all(total <= component.rows_max for total, component in zip(made.totals, components, strict=True))
    for phase, got, wanted in zip(phases, made.rows, made.wanted, strict=True):
        assert all(not count for count, weight in zip(got, phase.weights, strict=True) if not weight)
        if sum(got) < sum(wanted):  # short only where whatever the phase may read has reached its cap
            usable = [i for i, weight in enumerate(phase.weights) if weight]
            assert all(made.totals[i] == components[i].rows_max for i in usable)
    assert plan(components, phases, rows) == made


@given(cases())
def test_plan_without_caps_gives_the_wanted_share_of_tokens(case):
    components, phases, rows = case
    free = [Component(c.rows, c.tokens, 1e9) for c in components]
    made = plan(free, phases, rows)
    assert made.rows == made.wanted
    everything = sum(phase.share for phase in phases)
    shares = [
        [phase.share / everything * weight / sum(phase.weights) / float(c.tokens_per_row) for weight, c in row]
        for phase, row in ((p, list(zip(p.weights, free, strict=True))) for p in phases)
    ]
    scale = rows / sum(map(sum, shares))
    for got, wanted in zip(made.rows, shares, strict=True):
        # Two roundings of at most one row: of the phase, and of the component in it.
        assert all(abs(count - share * scale) <= 2 + 1e-6 * rows for count, share in zip(got, wanted, strict=True))


@given(cases())
def test_plan_rows_beyond_a_cap_go_to_the_others_by_weight(case):
    components, phases, rows = case
    made = plan(components, phases, rows)
    for phase, got in zip(phases, made.rows, strict=True):
        free = [i for i, c in enumerate(components) if phase.weights[i] and made.totals[i] < c.rows_max]
        tokens = {i: (got[i], phase.weights[i] / float(components[i].tokens_per_row)) for i in free}
        for count, weight in tokens.values():
            for other, other_weight in tokens.values():
                # One row of rounding on either side.
                assert count - 1 <= (other + 1) * weight / other_weight * (1 + 1e-6) + 1e-9


@given(cases(), st.integers(0, 3))
def test_plan_order_reads_each_component_row_once_per_run_and_goes_on_after_it(case, runs):
    made = plan(*case)
    assume(0 < len(made) < 300)
    seen = Counter()
    for row in range(runs * len(made), (runs + 1) * len(made)):
        phase, component, number = made.at(row)
        assert number == runs * made.totals[component] + seen[component]
        assert made.rows[phase][component]
        seen[component] += 1
    assert [seen[i] for i in range(len(made.totals))] == list(made.totals)


def test_plan_phases_come_one_after_the_other():
    components = [Component(100, 1_000), Component(100, 1_000)]
    made = plan(components, [Phase(0.75, (1, 0)), Phase(0.25, (1, 1))], 80)
    assert made.rows == ((60, 0), (10, 10))
    assert {made.at(row)[:2] for row in range(60)} == {(0, 0)}
    assert [made.at(row)[1] for row in range(60, 80)] == [0, 1] * 10
    assert made.at(60)[2] == 60  # the component goes on where the phase before left it


def test_plan_cap_that_binds_is_spread_over_the_phases():
    scarce, plenty = Component(10, 640, epochs_max=4), Component(1_000, 64_000)
    made = plan([scarce, plenty], [Phase(3, (0.5, 0.5)), Phase(1, (0.5, 0.5))], 400)
    assert made.wanted == ((150, 150), (50, 50))
    assert made.rows == ((30, 270), (10, 90))
    assert made.rows_short == 0


def test_plan_short_of_rows_says_how_many():
    made = plan([Component(10, 100, 4), Component(20, 200, 2)], [Phase(1, (1, 1))], 100)
    assert (made.totals, made.rows_short) == ((40, 40), 20)


@pytest.mark.parametrize(
    ("component", "cap", "rows_max"),
    [
        (Component(100, 6_400), Cap.EPOCHS, 400),
        (Component(100, 6_400, 0.5), Cap.EPOCHS, 50),
        (Component(100, 6_400, 4, 6_400), Cap.TOKENS, 100),
        (Component(100, 6_400, 4, 6_399), Cap.TOKENS, 99),
        (Component(100, 6_400, 1, 6_400), Cap.EPOCHS, 100),
        (Component(100, 6_400, 4, 63), Cap.TOKENS, 0),
    ],
)
def test_component_is_limited_by_the_tighter_cap(component, cap, rows_max):
    assert (component.cap, component.rows_max) == (cap, rows_max)


@given(cases().filter(lambda case: case[2] > 0), st.integers(1, 10**9))
def test_rows_for_tokens_hold_them(case, tokens):
    components, phases, _ = case
    free = [Component(c.rows, c.tokens, 1e12) for c in components]
    rows = rows_for(free, phases, tokens)
    held = tokens_of(plan(free, phases, rows), free)
    longest = max(float(c.tokens_per_row) for c in free)
    assert abs(held - tokens) <= longest * (len(free) * len(phases) + 1) + 1e-6 * tokens


def test_plan_of_a_hundred_components_and_twenty_phases_is_exact():
    components = [Component(1_000 + 37 * i, (1_000 + 37 * i) * 509 + i, 1 + i % 4) for i in range(100)]
    phases = [Phase(1 + f, tuple(((i * 7 + f) % 11) / 3 for i in range(100))) for f in range(20)]
    made = plan(components, phases, 600_000)
    assert made.rows_short == 0
    assert len(made) == 600_000
    assert any(total == c.rows_max for total, c in zip(made.totals, components, strict=True))


def mixture() -> Mixture:
    return Mixture(
        name="projects/p/mixtures/m",
        components=[
            MixtureComponent(
                dataset_version=f"projects/p/datasets/{name}/versions/v1",
                weight=weight,
                epochs_max=4,
                tokens_max=tokens_max,
                manifest=ArtifactRef(key=name, sha256=name * 64, size_bytes=1),
                rows=2**40,
                tokens=2**49,
            )
            for name, weight, tokens_max in (("a", 1 / 3, None), ("b", 2 / 3, 2**41))
        ],
        phases=[MixturePhase(display_name="all", share=1, weights=[1 / 3, 2 / 3])],
        sequence_length=512,
    )


def test_mixture_content_is_read_back_bit_by_bit_and_knows_no_name(tmp_path):
    blobs = Blobs(FileObjects(tmp_path), "p")
    ref = write_mixture(blobs, mixture())
    found = read_mixture(blobs, ref)
    assert found.components == mixture().components
    assert found.phases == mixture().phases
    assert components_of(found) == [Component(2**40, 2**49, 4.0), Component(2**40, 2**49, 4.0, 2**41)]
    assert phases_of(found) == [Phase(1.0, (1 / 3, 2 / 3), "all")]
    assert not found.name
    renamed = mixture()
    renamed.name = "projects/p/mixtures/other"
    assert write_mixture(blobs, renamed) == ref
    renamed.components[0].weight = math.nextafter(1 / 3, 1)
    assert write_mixture(blobs, renamed) != ref


@pytest.mark.parametrize("content", [b"", b"[]", b'{"components": 1}', b'{"unknown": 1}', b"\xff"])
def test_mixture_content_that_is_none_is_data_loss(tmp_path, content):
    blobs = Blobs(FileObjects(tmp_path), "p")
    with pytest.raises(DataLoss, match="not a mixture"):
        read_mixture(blobs, blobs.put_bytes(content, "application/json"))


def test_shares_are_exact_fractions_of_weights():
    # 0.1 + 0.2 != 0.3 in floating point; the plan must not care in which order weights stand.
    components = [Component(10**6, 10**8, 16)] * 3
    one = plan(components, [Phase(1, (0.1, 0.2, 0.3))], 10**6)
    assert one.totals == tuple(round(Fraction(10**6) * k / 6) for k in (1, 2, 3))
