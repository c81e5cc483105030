"""Adapters in the engine over OpenVINO against PEFT over transformers, on a tiny model."""

import json

import pytest
import torch
from bessemer.kernel.clock import ManualClock
from bessemer.modeling.tokenizer import Tokenizer
from serve_svc.engine.assemble import assemble
from serve_svc.engine.loop import Arrival, Loop
from serve_svc.engine.protocol import AdapterChanged, Failed, Load, LoadAdapter, Sampling, UnloadAdapter

from tests.fixtures.adapters import make_adapter
from tests.fixtures.tiny_model import make_tiny_model

GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    return make_tiny_model(tmp_path_factory.mktemp("models") / "m")


class Bench:
    """A loop that ends no answer early, whose messages are kept."""

    def __init__(self, folder):
        tokenizer = Tokenizer.from_folder(folder)
        limits = {"num_slots": 4, "num_waiting_max": 99, "kv_bytes_max": 1 << 24, "prefill_tokens_max": 48}
        self.engine = assemble(
            Load(folder=str(folder), threads=1, num_sequences=6, **limits), tokenizer, fastest="fp32"
        )
        self.sent = []
        send, clock = self.sent.extend, ManualClock()
        slots = self.engine.slots
        self.loop = Loop(self.engine.decoder, slots, tokenizer, eos_ids=frozenset(), send=send, clock=clock)

    def run(self, *arrivals):
        for arrival in arrivals:
            self.loop.take(arrival)
        while self.engine.slots.busy:
            self.loop.step()
        return [sum((p.token_ids for p in self.sent if p.id == arrival.id), ()) for arrival in arrivals]

    def last(self, message):
        self.loop.take(message)
        return self.sent[-1]


@pytest.fixture(scope="module")
def bench(folder):
    return Bench(folder)


def prompts(folder, count):
    tokenizer = Tokenizer.from_folder(folder)
    texts = ["The furnace holds the charge. " * (1 + i % 4) for i in range(count)]
    return [tokenizer.render_chat([{"role": "user", "content": text}]) for text in texts]


def test_adapters_in_one_batch_each_say_what_peft_says(folder, bench, tmp_path):
    """The prompts repeat, so a prefix computed with one adapter would spoil the others'."""
    bare = bench.run(*[Arrival(f"bare{i}", ids, GREEDY, 12) for i, ids in enumerate(prompts(folder, 4))])
    says = [make_adapter(folder, tmp_path / str(seed), seed) for seed in range(6)]
    for seed in range(6):
        assert isinstance(bench.last(LoadAdapter(f"l{seed}", f"a{seed}", str(tmp_path / str(seed)))), AdapterChanged)
    ids = prompts(folder, 24)
    arrivals = [Arrival(str(i), p, GREEDY, 5 + i % 9, adapter=f"a{i % 6}") for i, p in enumerate(ids)]
    mixed = [Arrival(f"bare{i}b", p, GREEDY, 12) for i, p in enumerate(ids[:4])]
    got = bench.run(*arrivals[:10], *mixed, *arrivals[10:])
    assert got[10:14] == bare
    assert got[:10] + got[14:] == [says[i % 6](p, 5 + i % 9) for i, p in enumerate(ids)]
    assert len({*got[:6]}) > 3


def test_adapter_replaced_under_its_name_forgets_what_was_cached(folder, bench, tmp_path):
    ids = prompts(folder, 4)[3]
    for seed in (7, 8):
        says = make_adapter(folder, tmp_path / str(seed), seed)
        assert isinstance(bench.last(LoadAdapter(f"r{seed}", "same", str(tmp_path / str(seed)))), AdapterChanged)
        assert bench.run(Arrival(f"replaced{seed}", ids, GREEDY, 10, adapter="same")) == [says(ids, 10)]


def test_adapter_in_use_stays_and_an_unloaded_one_is_not_found(folder, bench, tmp_path):
    make_adapter(folder, tmp_path / "x", 9)
    bench.last(LoadAdapter("1", "x", str(tmp_path / "x")))
    running = Arrival("running", prompts(folder, 1)[0], GREEDY, 5, adapter="x")
    bench.loop.take(running)
    bench.loop.step()
    assert bench.last(UnloadAdapter("2", "x")).reason == "RESOURCE_IN_USE"
    bench.run()
    assert isinstance(bench.last(UnloadAdapter("3", "x")), AdapterChanged)
    failed = bench.last(Arrival("late", prompts(folder, 1)[0], GREEDY, 5, adapter="x"))
    assert isinstance(failed, Failed)
    assert failed.code == "NOT_FOUND"


def test_adapter_of_another_model_is_refused_and_says_why(folder, bench, tmp_path):
    other = make_tiny_model(tmp_path / "other", hidden_size=32)
    make_adapter(other, tmp_path / "x", 1)
    failed = bench.last(LoadAdapter("1", "x", str(tmp_path / "x")))
    assert (failed.code, failed.fields["field"]) == ("INVALID_ARGUMENT", "adapter")
    config = tmp_path / "x" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"use_dora": True}))
    assert "use_dora" in bench.last(LoadAdapter("2", "x", str(tmp_path / "x"))).message
