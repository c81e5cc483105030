"""The table of moves, and that nothing but the table moves a job."""

from __future__ import annotations

from pathlib import Path

import pytest
from bessemer.api.common.v1.job_pb2 import JOB_STATE_QUEUED, JobState
from bessemer.jobs.states import LEASED, MOVES, TERMINAL, Event, is_terminal, move, state_name, table
from bessemer.kernel.errors import FailedPrecondition
from hypothesis import given
from hypothesis import strategies as st

ALL_STATES = [number for name, number in JobState.items() if number]


@given(st.lists(st.sampled_from(list(Event)), max_size=30))
def test_move_any_sequence_of_events_follows_the_table_and_stops_at_the_end(events):
    state = JOB_STATE_QUEUED
    for event in events:
        legal = [rule.target for rule in MOVES if rule.event == event and state in rule.sources]
        if legal:
            assert not is_terminal(state)
            state = move(state, event)
            assert legal == [state]
            continue
        with pytest.raises(FailedPrecondition, match=state_name(state)) as refused:
            move(state, event)
        assert refused.value.reason == ("JOB_TERMINAL" if is_terminal(state) else "JOB_STATE_INVALID")


def test_moves_every_state_is_reachable_and_no_pair_is_ambiguous():
    pairs = [(source, rule.event) for rule in MOVES for source in rule.sources]
    assert len(pairs) == len(set(pairs))
    reached = {JOB_STATE_QUEUED} | {rule.target for rule in MOVES}
    assert reached == set(ALL_STATES)


def test_moves_terminal_states_have_no_way_out():
    assert not TERMINAL & {source for rule in MOVES for source in rule.sources}
    assert not TERMINAL & LEASED


@pytest.mark.parametrize("state", [s for s in ALL_STATES if s not in TERMINAL])
def test_moves_every_live_job_can_reach_an_end(state):
    seen, frontier = {state}, [state]
    while frontier:
        here = frontier.pop()
        for rule in MOVES:
            if here in rule.sources and rule.target not in seen:
                seen.add(rule.target)
                frontier.append(rule.target)
    assert seen & TERMINAL


def test_docs_table_is_the_one_the_code_uses():
    text = (Path(__file__).resolve().parents[3] / "docs" / "jobs.md").read_text()
    block = text.split("<!-- states -->\n")[1].split("<!-- end -->")[0]
    assert block.strip() == table().strip(), "run: python -m bessemer.jobs.states > the block in docs/jobs.md"
