"""The engine over OpenVINO against the plain one, on tiny models."""

import json

import pytest
import torch
from bessemer.kernel.clock import ManualClock
from bessemer.kernel.errors import FailedPrecondition
from bessemer.modeling.config import ModelConfig
from bessemer.modeling.load import load_model
from bessemer.modeling.tokenizer import Tokenizer
from serve_svc.engine import assemble as assembling
from serve_svc.engine.assemble import assemble
from serve_svc.engine.choice import choose
from serve_svc.engine.loop import Arrival, Loop
from serve_svc.engine.paged import graphs
from serve_svc.engine.paged.parity import ERROR_MAX, check_parity
from serve_svc.engine.protocol import Load, Sampling

from tests.fixtures.tiny_model import make_tiny_model

GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    return make_tiny_model(tmp_path_factory.mktemp("models") / "m")


def load(folder, **settings):
    limits = {"threads": 1, "num_slots": 4, "num_waiting_max": 100, "kv_bytes_max": 1 << 24, "prefill_tokens_max": 48}
    return Load(folder=str(folder), **{**limits, "num_sequences": 4, **settings})


class Bench:
    """A loop over an assembled engine whose messages are kept."""

    def __init__(self, folder, **settings):
        tokenizer = Tokenizer.from_folder(folder)
        self.engine = assemble(load(folder, **settings), tokenizer, fastest="fp32")
        self.sent, self.clock = [], ManualClock()
        eos_ids = tokenizer.eos_ids | self.engine.config.eos_ids
        send, clock = self.sent.extend, self.clock
        self.loop = Loop(self.engine.decoder, self.engine.slots, tokenizer, eos_ids=eos_ids, send=send, clock=clock)

    def run(self, *arrivals):
        for arrival in arrivals:
            self.loop.take(arrival)
        for _ in range(10_000):
            if not self.engine.slots.busy:
                break
            self.loop.step()
        return {arrival.id: self.tokens(arrival.id) for arrival in arrivals}

    def tokens(self, request_id):
        return sum((piece.token_ids for piece in self.sent if piece.id == request_id), ())


def prompts(folder, count):
    tokenizer = Tokenizer.from_folder(folder)
    text = "What is the capital of France? {} The furnace holds the charge. "
    texts = [text.format(i) * (1 + i * 7 % 5) for i in range(count)]
    return [tokenizer.render_chat([{"role": "user", "content": text}]) for text in texts]


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]},
        {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 32},
        {"model_type": "mistral", "tie_word_embeddings": False, "num_key_value_heads": 4},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0,
                             "high_freq_factor": 4.0, "original_max_position_embeddings": 32}},
    ],
    ids=["llama", "qwen2", "qwen3", "mistral", "llama3-rope"],
)  # fmt: skip
def test_paged_sixteen_mixed_greedy_requests_say_what_the_plain_engine_says(tmp_path, overrides):
    folder = make_tiny_model(tmp_path / "m", **overrides)
    arrivals = [Arrival(str(i), ids, GREEDY, 5 + i * 11 % 40) for i, ids in enumerate(prompts(folder, 16))]
    paged = Bench(folder, precision="fp32")
    assert (paged.engine.choice.engine, paged.engine.choice.precision) == ("openvino", "fp32")
    plain = plain_bench(folder)
    assert paged.run(*arrivals) == plain.run(*arrivals)


def plain_bench(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembling, "_paged", refuse)
        bench = Bench(folder, precision="fp32")
    assert bench.engine.choice.engine == "torch"
    return bench


def refuse(*_):
    raise FailedPrecondition("not today")


def test_paged_follow_up_and_repetition_share_and_say_the_same(folder):
    first = prompts(folder, 3)[2] * 2
    bench = Bench(folder)
    follow_up = [*first, *bench.run(Arrival("1", first, GREEDY, 20))["1"], *first[:7]]
    shared = []
    take = bench.engine.slots._memory.take
    bench.engine.slots._memory.take = lambda answer: shared.append(take(answer)) or shared[-1]
    again = bench.run(Arrival("2", follow_up, GREEDY, 20), Arrival("3", first, GREEDY, 20))
    assert [place.num_shared for place in shared] == [len(follow_up) - 8, len(first) - 1]
    assert again == Bench(folder).run(Arrival("2", follow_up, GREEDY, 20), Arrival("3", first, GREEDY, 20))
    assert again["3"] == bench.tokens("1")


def test_paged_same_seed_gives_same_tokens_alone_and_in_a_crowd(folder):
    ids = prompts(folder, 8)
    hot = Sampling(temperature=1.5, top_p=0.9, seed=11)
    alone = Bench(folder).run(Arrival("x", ids[3], hot, 30))["x"]
    crowd = [Arrival(str(i), prompt, Sampling(temperature=1.0), 20) for i, prompt in enumerate(ids)]
    assert Bench(folder).run(*crowd[:4], Arrival("x", ids[3], hot, 30), *crowd[4:])["x"] == alone


def test_paged_little_memory_serves_everybody_in_turn(folder):
    small = Bench(folder, kv_bytes_max=1 << 18)
    arrivals = [Arrival(str(i), ids[:100], GREEDY, 20) for i, ids in enumerate(prompts(folder, 12))]
    assert small.run(*arrivals) == Bench(folder).run(*arrivals)


def test_paged_int8_stays_near_the_model(folder):
    assert Bench(folder, precision="int8").engine.choice.precision == "int8"


def test_assemble_model_with_experts_is_served_by_the_plain_engine(tmp_path):
    raw = {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "num_experts": 4,
           "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True, "head_dim": 32}  # fmt: skip
    choice = Bench(make_tiny_model(tmp_path / "m", **raw), precision="int8").engine.choice
    assert (choice.engine, choice.precision) == ("torch", "fp32")
    assert "int8" in choice.note


def test_assemble_graph_that_computes_something_else_is_not_served(folder, tmp_path, monkeypatch):
    other = make_tiny_model(tmp_path / "m", seed=5)
    monkeypatch.setattr(assembling, "load_decoder", lambda _: load_model(folder))
    choice = Bench(other).engine.choice
    assert choice.engine == "torch"
    assert "is not the model" in choice.note


def test_parity_limit_lies_far_from_rounding_and_from_a_wrong_graph(folder, tmp_path):
    tokenizer = Tokenizer.from_folder(folder)
    slots = Bench(folder).engine
    memory, ids = slots.slots._memory, [tokenizer.encode("A furnace holds the charge.")]
    assert check_parity(load_model(folder), slots.decoder, memory, ids, precision="fp32").error < ERROR_MAX["fp32"] / 10
    wrong = load_model(folder)
    with torch.no_grad():
        wrong.norm[0] += 1
    with pytest.raises(FailedPrecondition, match="is not the model"):
        check_parity(wrong, slots.decoder, memory, ids, precision="fp32")


def test_graph_is_made_once_and_again_when_damaged_or_of_other_weights(tmp_path, monkeypatch):
    folder = make_tiny_model(tmp_path / "m")
    built = []
    build = graphs.build_graph
    monkeypatch.setattr(graphs, "build_graph", lambda *args, **more: built.append(args) or build(*args, **more))
    for _ in range(2):
        graphs.open_graph(folder, "fp32")
    assert len(built) == 1
    stored = tmp_path / "openvino" / "m" / "fp32" / "graph.bin"
    data = bytearray(stored.read_bytes())
    data[100] ^= 1
    stored.write_bytes(data)
    graphs.open_graph(folder, "fp32")
    assert len(built) == 2
    make_tiny_model(folder, seed=3)
    graphs.open_graph(folder, "fp32")
    assert len(built) == 3
    assert [path.name for path in stored.parent.parent.iterdir()] == ["fp32"]


@pytest.mark.parametrize(
    ("wanted", "multiplies_bf16", "expected"),
    [
        ("", True, "bf16"),
        ("", False, "fp32"),
        ("bf16", False, "fp32"),
        ("int8", False, "int8"),
        ("fp32", True, "fp32"),
    ],
)
def test_choice_precision_follows_the_wish_and_the_processor(folder, wanted, multiplies_bf16, expected):
    config = ModelConfig.from_json(json.loads((folder / "config.json").read_text()))
    choice = choose(config, wanted, multiplies_bf16=multiplies_bf16)
    assert (choice.engine, choice.precision) == ("openvino", expected)
    assert bool(choice.note) == (wanted not in ("", expected))
