import pytest
import torch
from serve_svc.engine.protocol import Sampling
from serve_svc.engine.sampler import Sampler, choose


@pytest.fixture
def logits():
    return torch.randn(5, 1000, generator=torch.Generator().manual_seed(1)) * 3


def draw(sampling, logits, count):
    sampler = Sampler(sampling)
    return [sampler.choose(logits) for _ in range(count)]


def test_sampler_greedy_takes_the_likeliest(logits):
    samplers = [Sampler(Sampling(temperature=0)), Sampler(Sampling(temperature=1, top_k=1))]
    assert [token for token, _, _ in choose(samplers, logits[:2])] == logits[:2].argmax(1).tolist()


def test_sampler_same_seed_draws_the_same_whatever_else_is_in_the_batch(logits):
    alone, together = Sampler(Sampling(seed=7)), Sampler(Sampling(seed=7))
    others = [Sampler(Sampling(seed=i)) for i in range(4)]
    first = [choose([alone], logits[2:3])[0] for _ in range(20)]
    second = [choose([*others[:2], together, *others[2:]], logits)[2] for _ in range(20)]
    assert first == second
    assert first != draw(Sampling(seed=8), logits[2], 20)


def test_sampler_without_seed_differs_between_requests(logits):
    assert draw(Sampling(temperature=2), logits[0], 20) != draw(Sampling(temperature=2), logits[0], 20)


def test_sampler_top_k_stays_inside(logits):
    allowed = set(logits[0].topk(5).indices.tolist())
    assert set(draw(Sampling(temperature=2, top_k=5, seed=1), logits[0], 200)) <= allowed


@pytest.mark.parametrize("temperature", [1.5, 50.0])
def test_sampler_top_p_takes_the_smallest_set_that_reaches_it(logits, temperature):
    probabilities, tokens = (logits[0].double() / temperature).softmax(0).sort(descending=True)
    size = int((probabilities.cumsum(0) < 0.6).sum()) + 1
    drawn = set(draw(Sampling(temperature=temperature, top_p=0.6, seed=1), logits[0], 500))
    assert drawn <= set(tokens[:size].tolist())
    assert len(drawn) > 1


def test_sampler_frequencies_follow_probabilities():
    logits = torch.tensor([0.0, 1.0, 2.0, -30.0])
    counts = torch.bincount(torch.tensor(draw(Sampling(temperature=1, seed=3), logits, 4000)), minlength=4) / 4000
    assert torch.allclose(counts.double(), logits.double().softmax(0), atol=0.03)


def test_sampler_tiny_temperature_is_finite(logits):
    assert draw(Sampling(temperature=1e-300, seed=1), logits[0], 3) == [int(logits[0].argmax())] * 3


def chosen(sampling, logits, count=1, **more):
    sampler = Sampler(sampling, **more)
    return [sampler.take(logits) for _ in range(count)]


def test_sampler_min_p_keeps_what_is_likely_enough_beside_the_likeliest(logits):
    probabilities = logits[0].double().softmax(0)
    allowed = set((probabilities >= 0.3 * probabilities.max()).nonzero()[:, 0].tolist())
    drawn = set(draw(Sampling(temperature=1, min_p=0.3, seed=1), logits[0], 500))
    assert drawn <= allowed
    assert len(drawn) > 1


def test_sampler_bias_forces_and_bans(logits):
    assert chosen(Sampling(temperature=0, logit_bias=((7, 100.0),)), logits[0])[0][0] == 7
    likeliest = int(logits[0].argmax())
    assert chosen(Sampling(temperature=0, logit_bias=((likeliest, -100.0),)), logits[0])[0][0] != likeliest


def test_sampler_frequency_penalty_grows_with_each_use_and_presence_does_not():
    logits = torch.tensor([5.0, 4.5, 0.0, -1.0])
    often = [token for token, _, _ in chosen(Sampling(temperature=0, frequency_penalty=0.3), logits, 6)]
    assert often == [0, 0, 1, 0, 1, 0]  # 5, 4.7, 4.4 < 4.5, 4.4 > 4.2, ...
    once = [token for token, _, _ in chosen(Sampling(temperature=0, presence_penalty=0.6), logits, 4)]
    assert once == [0, 1, 0, 0]


def test_sampler_repetition_penalty_counts_the_prompt_too():
    logits = torch.tensor([2.0, 1.9, -1.0])
    sampling = Sampling(temperature=0, repetition_penalty=1.2)
    assert chosen(sampling, logits)[0][0] == 0
    assert chosen(sampling, logits, prompt_ids=[0, 2])[0][0] == 1


def test_sampler_logprobs_are_of_the_model_before_any_setting(logits):
    sampling = Sampling(temperature=0.5, logit_bias=((7, 100.0),), logprobs=3)
    ((token, found, _),) = chosen(sampling, logits[0])
    expected = logits[0].log_softmax(0)
    assert token == 7
    assert found[0] == pytest.approx(float(expected[7]))
    assert [other for other, _ in found[1]] == expected.topk(3).indices.tolist()
    ((_, found, _),) = chosen(Sampling(temperature=0, logprobs=0), logits[0])
    assert found[1] == []
