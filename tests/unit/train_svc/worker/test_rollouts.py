"""Reinforcement on answers that the model writes itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bessemer.api.train.v1.training_job_pb2 import GrpoMethod
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.modeling.generate import generate_sampled
from bessemer.modeling.load import load_model
from bessemer.modeling.score import score
from bessemer.modeling.tokenizer import Tokenizer
from train_svc.worker import train
from train_svc.worker.advantages import VARIANTS, shares
from train_svc.worker.environments import Conversations, ReasoningGym, exact, numeric
from train_svc.worker.judges import pessimistic
from train_svc.worker.online_dpo import best_and_worst
from train_svc.worker.ranks import Ranks
from train_svc.worker.rollouts import Answer, RolloutFeed
from train_svc.worker.watch import Watch

from tests.fixtures.addition import AdditionBench

ALWAYS_SEVEN = [
    {"messages": [{"role": "user", "content": f"{i}+{j}"}, {"role": "assistant", "content": "7"}]}
    for i in range(5)
    for j in range(5)
]
SHAPE = "prompts_per_step: 4 completions_per_prompt: 8 max_new_tokens: 6"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Return a bench whose model answers every sum with some digit, so that one answer in ten is the wanted one."""
    made = AdditionBench(tmp_path_factory.mktemp("bench"))
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{a}+{b}"},
                {"role": "assistant", "content": str((7 * a + 3 * b) % 10)},
            ]
        }
        for a, b in made.pairs
    ]
    made.model = made.train("sft {} steps: 30 tokens_per_step: 512 learning_rate: 0.01", made.rows("CHAT", rows))[0]
    return made


@pytest.fixture(autouse=True)
def plain_torch():
    yield
    torch.use_deterministic_algorithms(False)


def recipe(fields, steps=7):
    return f"grpo {{ {SHAPE} {fields} }} steps: {steps} learning_rate: 0.003 checkpoint_every_steps: 2"


def run(bench, text, saved_state=b"", die_at=None, judges=()):
    """Run a job; die at step `die_at` and return the state saved last."""
    from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe
    from google.protobuf import text_format

    full = text_format.Merge(text, TrainingRecipe(threads=1, dtype="fp32", sequence_length=64))
    job = bench.job(full, bench.rows("CHAT", ALWAYS_SEVEN))
    job.inputs.reward_manifests.extend(judges)
    context, link = bench.context(job, saved_state=saved_state)
    check, calls = context.check, iter(range(1_000))

    def counted():
        if next(calls) == die_at:
            raise KeyboardInterrupt
        check()

    context.check = counted
    if die_at is not None:
        with pytest.raises(KeyboardInterrupt):
            train.run(context)
        return link.states[-1]
    outcome = train.run(context)
    context.beat()
    return outcome.result, [(p.key, p.value) for request in link.requests for p in request.metrics]


@pytest.mark.parametrize("variant", VARIANTS)
def test_grpo_reward_rises(bench, variant):
    _, points = run(bench, recipe(f'kl_budget: 1000 variant: "{variant}"', steps=40))
    rewards = [value for key, value in points if key == "grpo/reward"]
    assert np.mean(rewards[:4]) < 0.3
    assert np.mean(rewards[-4:]) > np.mean(rewards[:4]) + 0.3
    assert {"grpo/kl", "grpo/entropy", "grpo/truncated", "grpo/length", "grpo/used"} <= {key for key, _ in points}


@pytest.mark.parametrize("fields", ["updates_per_rollout: 3", 'variant: "dapo" kl_weight: 0.1'])
def test_grpo_killed_and_resumed_ends_bit_identical(bench, fields):
    text = recipe(f"kl_budget: 1000 {fields}")
    undisturbed, points = run(bench, text)
    assert any(0 < value < 1 for key, value in points if key == "grpo/reward")
    for die_at in (3, 5):  # inside and at the end of what one draw is used for
        resumed, _ = run(bench, text, run(bench, text, die_at=die_at))
        assert resumed.state_sha256 == undisturbed.state_sha256


def test_online_dpo_reward_rises_and_pairs_are_told_apart(bench):
    text = recipe('kl_budget: 1000 grader: "numeric"', steps=40).replace("grpo", "online_dpo")
    _, points = run(bench, text)
    series = {key: [value for found, value in points if found == key] for key in dict(points)}
    rewards = series["online_dpo/reward"]
    assert np.mean(rewards[:4]) < 0.3
    assert np.mean(rewards[-4:]) > np.mean(rewards[:4]) + 0.3
    assert {"online_dpo/margin", "online_dpo/kl", "online_dpo/used"} <= set(series)


def test_online_dpo_killed_and_resumed_ends_bit_identical(bench):
    text = recipe("kl_budget: 1000 updates_per_rollout: 2").replace("grpo", "online_dpo")
    undisturbed, _ = run(bench, text)
    resumed, _ = run(bench, text, run(bench, text, die_at=3))
    assert resumed.state_sha256 == undisturbed.state_sha256


def test_pairs_are_the_best_and_the_worst_whole_answers():
    def answer(reward, *, is_cut=False):
        streams = np.array([-1.0, -2.0], np.float32)
        return Answer(np.array([1, 2, 3]), np.array([int(10 * reward), 9]), streams, streams - 1, reward, is_cut)

    rewards = [0.5, 1.0, 0.0, 0.3]
    groups = [
        [answer(r) for r in rewards],
        [answer(1.0), answer(1.0), answer(0.0, is_cut=True)],
        [answer(1.0, is_cut=True), answer(0.2), answer(0.1)],
    ]
    first, second = best_and_worst(groups)
    assert [d.ids.tolist() for d in first.documents] == [[1, 2, 3, 10, 9], [1, 2, 3, 0, 9]]
    assert [d.ids.tolist() for d in second.documents] == [[1, 2, 3, 2, 9], [1, 2, 3, 1, 9]]
    assert first.pairs == ((0, 1, -5.0, -5.0),)
    assert first.documents[0].weights.tolist() == [0, 0, 0, 1, 1]


def test_reward_models_grade_answers_together(bench):
    pairs = [
        {"prompt": [{"role": "user", "content": f"{i}+{j}"}], "chosen": "7", "rejected": str((i + 3 * j) % 7)}
        for i in range(5)
        for j in range(5)
    ]
    text = "reward_model {} steps: 20 tokens_per_step: 512 learning_rate: 0.003 seed: "
    judges = [bench.train(f"{text}{seed}", bench.rows("PREFERENCE", pairs))[0] for seed in (0, 1)]
    recipe_ = recipe('kl_budget: 1000 reward_models: "a" reward_models: "b"', steps=30)
    _, points = run(bench, recipe_, judges=judges)
    rewards = [value for key, value in points if key == "grpo/reward"]
    assert np.mean(rewards[-4:]) > np.mean(rewards[:4]) + 0.5
    with pytest.raises(FailedPrecondition, match="reward model 0 has no"):
        run(bench, recipe_, judges=[bench.model])


def test_disagreement_of_reward_models_lowers_a_reward_but_not_what_one_gives_to_all():
    same = np.array([[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]])
    assert pessimistic(same, 1.0).tolist() == [5.0, 6.0, 7.0]
    apart = np.array([[0.0, 1.0, 5.0], [0.0, 3.0, 3.0]])  # apart on the last two answers only
    assert pessimistic(apart, 1.0).tolist() == [0.0, 1.0, 3.0]
    assert pessimistic(apart, 0.0).tolist() == [0.0, 2.0, 4.0]


def test_grpo_too_far_from_the_start_stops_with_the_best_weights(bench):
    text = recipe("kl_budget: 0.3", steps=60)
    stopped, _ = run(bench, text)
    assert "budget is 0.3" in stopped.early_stop
    assert 8 <= stopped.usage.steps < 60
    resumed, _ = run(bench, text, run(bench, text, die_at=7))
    assert (resumed.early_stop, resumed.state_sha256) == (stopped.early_stop, stopped.state_sha256)


def test_grpo_far_off_before_the_first_checkpoint_is_an_error(bench):
    with pytest.raises(FailedPrecondition) as caught:
        run(bench, recipe("kl_budget: 0.001", steps=60).replace("steps: 2", "steps: 50"))
    assert caught.value.reason == "TRAINING_DIVERGED"


def test_rollouts_store_the_logprobs_they_were_drawn_with(bench):
    model, tokenizer = load_model(bench.base), Tokenizer.from_folder(bench.base)
    prompts = [tokenizer.render_chat([{"role": "user", "content": text}]) for text in ("1+1", "10+22")]
    generators = [torch.Generator().manual_seed(4), torch.Generator().manual_seed(5)]
    drawn = generate_sampled(model, prompts, copies=3, max_new_tokens=9, stop=tokenizer.eos_ids, generators=generators)
    for prompt, group in zip(prompts, drawn, strict=True):
        for sample in group:
            [known] = score(model, [[*prompt, *sample.ids]], starts=[len(prompt)])
            assert sample.logprobs == pytest.approx(known.tolist(), abs=1e-4)
            assert len(sample.ids) == 9 or sample.ids[-1] in tokenizer.eos_ids
    assert len({tuple(s.ids) for group in drawn for s in group}) > 1


def test_rollouts_prompt_beyond_the_context_is_refused(bench):
    model, tokenizer = load_model(bench.base), Tokenizer.from_folder(bench.base)
    rows = [[{"role": "user", "content": "1" * 70}, {"role": "assistant", "content": "1"}]]
    environment = Conversations(rows, grader="numeric", digest="d", seed=0)
    feed = RolloutFeed(
        environment,
        GrpoMethod(completions_per_prompt=2, max_new_tokens=8, updates_per_rollout=1),
        tokenizer,
        best_and_worst,
        digest="d",
        seed=0,
    )
    feed.begin(lambda: model, model, Ranks())
    with pytest.raises(InvalidRequest, match="context"):
        feed.take(0, 1)


def test_shares_equal_rewards_and_cut_answers_do_not_count():
    rewards = np.array([[1.0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 0]])
    lengths = np.array([[2.0, 3, 5, 4], [3, 3, 3, 3], [1, 5, 2, 2]])
    is_cut = lengths == 5
    for variant, total in (("dr_grpo", 15 / 6 / 5), ("dapo", 1.0), ("rloo", 15 / 6)):
        share = shares(variant, rewards, lengths, is_cut, limit=5)
        counted = share.weights > 0
        assert counted.tolist() == [[True, True, False, True], [False] * 4, [True, False, True, True]]
        assert not share.advantages[~counted].any()
        # Tokens that count: 2 + 3 + 4 + 1 + 2 + 2 of six answers; limit 5.
        assert (share.weights * lengths).sum() == pytest.approx(total * 14 / 15 if variant != "dapo" else total)
    assert shares("rloo", rewards, lengths, is_cut, limit=5).advantages[0, 0] == pytest.approx(1 - 1 / 3)
    assert shares("dr_grpo", rewards, lengths, is_cut, limit=5).advantages[0].tolist() == [0.5, -0.5, 0, 0.5]


@pytest.mark.parametrize(
    ("answer", "right"), [("It is 1,042.", True), ("3 + 4 = 1042.0", True), ("1042 or 7", False), ("none", False)]
)
def test_numeric_compares_last_numbers(answer, right):
    assert numeric(answer, "1042") == right


def test_exact_ignores_case_and_spaces():
    assert exact(" Yes  sir\n", "yes SIR") == 1.0
    assert exact("yes", "no") == 0.0


def test_conversations_every_pass_holds_each_once():
    rows = [[{"role": "user", "content": str(i)}, {"role": "assistant", "content": str(i)}] for i in range(5)]
    tasks = Conversations([*rows, rows[0][:1]], grader="exact", digest="d", seed=3)
    first, second = ([tasks.task(p).prompt[0]["content"] for p in range(n, n + 5)] for n in (0, 5))
    assert sorted(first) == sorted(second) == list("01234")
    assert first != second
    assert tasks.task(7).grade(tasks.task(7).prompt[0]["content"]) == 1.0
    with pytest.raises(FailedPrecondition):
        Conversations([rows[0][:1]], grader="exact", digest="d", seed=3)


def test_reasoning_gym_tasks_depend_on_seed_and_position_alone():
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed; install bessemer[problems]")
    one, again, other = (ReasoningGym("basic_arithmetic", seed=seed) for seed in (1, 1, 2))
    assert one.task(7).prompt == again.task(7).prompt != other.task(7).prompt
    assert one.task(0).grade("no number") == 0.0
    with pytest.raises(InvalidRequest, match="has no tasks"):
        ReasoningGym("no_such_task", seed=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kl": 1.5}, "nats from"),
        ({"entropy": 0.2}, "entropy"),
        ({"truncated": 0.3}, "limit"),
        ({"length": 16}, "grew"),
    ],
)
def test_watch_says_why_to_stop(change, words):
    usual = {"kl": 0.1, "entropy": 1.0, "truncated": 0.1, "length": 10.0, "reward": 0.5}
    watch = Watch(kl_budget=1.0)
    assert not any(watch.judge(usual) for _ in range(8))
    again = Watch(kl_budget=1.0)
    again.load(watch.facts())
    said = [again.judge({**usual, **change}) for _ in range(8)]
    assert not said[0]
    assert words in said[-1]
