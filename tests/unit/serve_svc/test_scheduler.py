from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from serve_svc.engine.scheduler import Chunk, Place, Running, has_turn, place, plan

WORDS = list(range(100))


def test_plan_nothing_running_is_empty():
    step = plan([], 64)
    assert (step.prefill, step.decode) == ((), ())


def test_plan_long_prompt_is_read_in_chunks_while_others_decode():
    step = plan([Running("a", 0, 10, 10), Running("long", 1, 150, 64)], 64)
    assert step.prefill == (Chunk("long", 1, 64, 128, last=False),)
    assert step.decode == ("a",)


def test_plan_many_short_prompts_share_the_budget():
    step = plan([Running("a", 0, 40, 0), Running("b", 1, 40, 0), Running("c", 2, 40, 0)], 64)
    assert step.prefill == (Chunk("a", 0, 0, 40, last=True), Chunk("b", 1, 0, 24, last=False))
    assert step.decode == ()


def test_place_no_free_slot_waits():
    assert place(WORDS, cached={}, free=[]) is None


def test_place_budget_already_spoken_for_waits():
    assert not has_turn([Running("a", 0, 64, 0)], 64)


def test_place_unknown_prompt_takes_the_longest_unused_slot():
    assert place(WORDS, cached={0: [7] * 50, 1: []}, free=[1, 0]) == Place(1, 1, 0)


def test_place_known_prefix_in_unused_slot_goes_on_there():
    assert place(WORDS, cached={0: [], 1: [*WORDS[:40], -1]}, free=[0, 1]) == Place(1, 1, 40)


def test_place_known_prefix_in_used_slot_is_copied():
    assert place(WORDS, cached={0: [], 1: WORDS[:41]}, free=[0]) == Place(0, 1, 41)


def test_place_same_prompt_again_still_reads_its_last_token():
    assert place(WORDS, cached={0: [*WORDS, 5]}, free=[0]) == Place(0, 0, 99)


@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 60)), max_size=20), st.integers(1, 6), st.integers(1, 200)
)
def test_scheduler_run_to_the_end_serves_everybody_in_order_within_the_budget(requests, num_slots, budget):
    waiting = [(str(i), prompt) for i, (prompt, _) in enumerate(requests)]
    running: dict[str, Running] = {}
    answered = {request_id: 0 for request_id, _ in waiting}
    for _ in range(20_000):
        free = sorted(set(range(num_slots)) - {request.slot for request in running.values()})
        while waiting and has_turn(list(running.values()), budget):
            found = place([0] * waiting[0][1], cached={}, free=free)
            if found is None:
                break
            request_id, num_prompt = waiting.pop(0)
            free.remove(found.slot)
            running[request_id] = Running(request_id, found.slot, num_prompt, 0)
        step = plan(list(running.values()), budget)
        if not (step.prefill or step.decode):
            break
        assert sum(chunk.stop - chunk.start for chunk in step.prefill) <= budget
        for chunk in step.prefill:
            running[chunk.id] = replace(running[chunk.id], num_read=chunk.stop)
        for request_id in (*step.decode, *(chunk.id for chunk in step.prefill if chunk.last)):
            answered[request_id] += 1
            if answered[request_id] == requests[int(request_id)][1]:
                del running[request_id]
    assert not waiting
    assert not running
    assert [answered[str(i)] for i in range(len(requests))] == [answer for _, answer in requests]
