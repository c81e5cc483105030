"""The loop over the tiny model, on the test's own thread."""

from pathlib import Path

import pytest
import torch
from bessemer.kernel.clock import ManualClock
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.generate import KVCache
from bessemer.modeling.load import load_model
from bessemer.modeling.tokenizer import Tokenizer
from serve_svc.engine.decoder import TorchDecoder
from serve_svc.engine.loop import Arrival, Loop, answer_tokens
from serve_svc.engine.protocol import Abort, Failed, Ping, Pong, Sampling
from serve_svc.engine.slots import SlotMemory, Slots

from tests.fixtures.tiny_model import make_tiny_model

GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder: Path = make_tiny_model(tmp_path_factory.mktemp("model"))
    torch.set_num_threads(1)
    return load_model(folder), Tokenizer.from_folder(folder)


class Bench:
    """A loop whose messages are kept; time moves on 6 ms per step."""

    def __init__(self, model, tokenizer, num_slots=4, num_waiting_max=100, budget=48):
        self.sent = []
        self.clock = ManualClock()
        self.slots = Slots(SlotMemory(num_slots), num_waiting_max=num_waiting_max, prefill_tokens_max=budget)
        decoder = TorchDecoder(model, KVCache(model.config, slots=num_slots, max_length=512))
        eos_ids = tokenizer.eos_ids | model.config.eos_ids
        send = self.sent.extend
        self.loop = Loop(decoder, self.slots, tokenizer, eos_ids=eos_ids, send=send, clock=self.clock)

    def run(self, *arrivals):
        for arrival in arrivals:
            self.loop.take(arrival)
        self.steps(10_000)
        return {arrival.id: self.text(arrival.id) for arrival in arrivals}

    def steps(self, count):
        for _ in range(count):
            if not self.slots.busy:
                return
            self.clock.advance(0.006)
            self.loop.step()

    def pieces(self, request_id):
        return [message for message in self.sent if message.id == request_id]

    def text(self, request_id):
        pieces = self.pieces(request_id)
        assert [bool(piece.finish) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        return "".join(piece.text for piece in pieces), sum((piece.token_ids for piece in pieces), ())


def prompts(tokenizer, count):
    texts = [
        f"What is the capital of France? {i} The furnace holds the charge. " * (1 + i * 7 % 5) for i in range(count)
    ]
    return [tokenizer.render_chat([{"role": "user", "content": text}]) for text in texts]


def test_loop_sixteen_mixed_greedy_requests_equal_one_at_a_time(loaded):
    arrivals = [Arrival(str(i), ids, GREEDY, 5 + i * 11 % 40) for i, ids in enumerate(prompts(loaded[1], 16))]
    together = Bench(*loaded).run(*arrivals)
    for arrival in arrivals:
        assert Bench(*loaded, num_slots=1, budget=512).run(arrival)[arrival.id] == together[arrival.id]


def test_loop_same_seed_gives_same_text_alone_and_in_a_crowd(loaded):
    ids = prompts(loaded[1], 8)
    hot = Sampling(temperature=1.5, top_p=0.9, seed=11)
    alone = Bench(*loaded).run(Arrival("x", ids[3], hot, 30))["x"]
    crowd = [Arrival(str(i), prompt, Sampling(temperature=1.0), 20) for i, prompt in enumerate(ids)]
    bench = Bench(*loaded)
    assert bench.run(*crowd[:4], Arrival("x", ids[3], hot, 30), *crowd[4:])["x"] == alone


def test_loop_follow_up_reuses_the_prefix_and_says_the_same(loaded):
    first = prompts(loaded[1], 1)[0] * 2
    bench = Bench(*loaded)
    _, tokens = bench.run(Arrival("1", first, GREEDY, 20))["1"]
    follow_up = [*first, *tokens, *loaded[1].encode("And then?")]
    bench.loop.take(Arrival("2", follow_up, GREEDY, 20))
    place = bench.slots.admit()
    assert place.num_shared >= len(first)
    bench.loop._decoder.place(place)
    bench.steps(1000)
    assert bench.text("2") == Bench(*loaded).run(Arrival("2", follow_up, GREEDY, 20))["2"]


def test_loop_same_prompt_while_it_runs_is_copied_and_says_the_same(loaded):
    prompt = prompts(loaded[1], 1)[0] * 2
    bench = Bench(*loaded, budget=512)
    bench.loop.take(Arrival("1", prompt, GREEDY, 40))
    bench.steps(5)
    answers = bench.run(Arrival("2", prompt, GREEDY, 40))
    assert bench.text("1") == answers["2"]


def test_loop_stop_string_ends_the_answer_before_it(loaded):
    prompt = prompts(loaded[1], 1)[0]
    whole, _ = Bench(*loaded).run(Arrival("1", prompt, GREEDY, 60))["1"]
    stop = whole[20:24]
    bench = Bench(*loaded)
    text, tokens = bench.run(Arrival("1", prompt, Sampling(temperature=0, stop=(stop,)), 60))["1"]
    last = bench.pieces("1")[-1]
    assert text == whole[: whole.index(stop)]
    assert (last.finish, last.completion_tokens, last.prompt_tokens) == ("stop", len(tokens), len(prompt))


def test_loop_max_tokens_finishes_with_length(loaded):
    bench = Bench(*loaded)
    _, tokens = bench.run(Arrival("1", prompts(loaded[1], 1)[0], GREEDY, 7))["1"]
    assert (bench.pieces("1")[-1].finish, len(tokens)) == ("length", 7)


def test_loop_first_token_comes_at_once_then_pieces_of_twenty_milliseconds(loaded):
    bench = Bench(*loaded)
    bench.run(Arrival("1", prompts(loaded[1], 1)[0], GREEDY, 30))
    sizes = [len(piece.token_ids) for piece in bench.pieces("1")]
    assert sizes[0] == 1
    assert set(sizes[1:-1]) == {4}


def test_loop_abort_frees_the_slot_for_the_next_step(loaded):
    bench = Bench(*loaded, num_slots=1)
    ids = prompts(loaded[1], 2)
    bench.loop.take(Arrival("long", ids[0], GREEDY, 400))
    bench.loop.take(Arrival("next", ids[1], GREEDY, 3))
    bench.steps(5)
    assert not bench.pieces("next")
    bench.loop.take(Abort("long"))
    assert bench.slots.num_free == 1
    bench.steps(50)
    assert bench.pieces("next")[-1].finish
    assert not bench.slots.busy


def test_loop_abort_of_waiting_and_of_unknown_requests_is_quiet(loaded):
    bench = Bench(*loaded, num_slots=1)
    ids = prompts(loaded[1], 1)[0]
    bench.loop.take(Arrival("a", ids, GREEDY, 3))
    bench.loop.take(Arrival("b", ids, GREEDY, 3))
    bench.loop.take(Abort("b"))
    bench.loop.take(Abort("nobody"))
    bench.steps(50)
    (only,) = bench.pieces("b")
    assert (only.finish, only.token_ids) == ("abort", ())


def test_loop_full_queue_refuses_with_retry(loaded):
    bench = Bench(*loaded, num_waiting_max=2)
    for request_id in "abc":
        bench.loop.take(Arrival(request_id, prompts(loaded[1], 1)[0], GREEDY, 3))
    (refused,) = bench.sent
    assert isinstance(refused, Failed)
    assert (refused.id, refused.reason, refused.fields) == ("c", "RATE_LIMITED", {"retry_after_s": "2"})


def test_loop_ping_is_answered(loaded):
    bench = Bench(*loaded)
    bench.loop.take(Ping("p"))
    assert bench.sent == [Pong("p")]


def test_answer_tokens_default_is_cut_to_what_fits():
    assert answer_tokens(100, None, 10_000) == 256
    assert answer_tokens(100, None, 130) == 30
    assert answer_tokens(100, 30, 130) == 30


@pytest.mark.parametrize(
    ("num_prompt", "max_tokens", "field"), [(130, None, "prompt"), (100, 31, "sampling.max_tokens")]
)
def test_answer_tokens_beyond_context_is_refused(num_prompt, max_tokens, field):
    with pytest.raises(InvalidRequest) as caught:
        answer_tokens(num_prompt, max_tokens, 130)
    assert (caught.value.reason, caught.value.fields["field"]) == ("CONTEXT_TOO_LONG", field)
