from __future__ import annotations

import pytest
import torch
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.generate import KVCache, decode_step, prefill
from bessemer.modeling.load import load_model
from bessemer.modeling.score import score, token_logprobs

from tests.fixtures.tiny_model import make_tiny_model

PROMPTS = [[5, 6, 7, 8, 9, 10], [20, 30], [7] * 40, [5, 6, 7, 100]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(make_tiny_model(tmp_path_factory.mktemp("tiny")))


def logits_after(model, ids):
    with torch.inference_mode():
        return model.logits(model(torch.tensor(ids), torch.arange(len(ids)), [len(ids)]))[-1]


def close(a, b):
    return bool((a - b).abs().max() < 1e-5)


def test_prefill_packs_prompts_into_slots(model):
    cache = KVCache(model.config, slots=6, max_length=64)
    logits = prefill(model, cache, [4, 0, 2, 5], PROMPTS)
    assert cache.lengths == [2, 0, 40, 0, 6, 4]
    assert all(close(row, logits_after(model, p)) for row, p in zip(logits, PROMPTS, strict=True))


def test_prefill_in_pieces_equals_one_piece(model):
    cache = KVCache(model.config, slots=2, max_length=64)
    prefill(model, cache, [1], [PROMPTS[2][:17]])
    assert close(prefill(model, cache, [1], [PROMPTS[2][17:]])[0], logits_after(model, PROMPTS[2]))


@pytest.mark.parametrize("slots", [[0, 1, 2, 3], [3, 1, 2, 0], [7, 0, 2, 5], [0, 40, 20, 63]])
def test_decode_step_any_slots_equal_each_alone(model, slots):
    cache = KVCache(model.config, slots=64, max_length=64)
    prefill(model, cache, slots, PROMPTS)
    texts = [list(p) for p in PROMPTS]
    for token in (11, 12):
        order = [2, 0, 3, 1]
        logits = decode_step(model, cache, [slots[i] for i in order], [token + i for i in order])
        for row, i in zip(logits, order, strict=True):
            texts[i].append(token + i)
            assert close(row, logits_after(model, texts[i]))
    alone = decode_step(model, cache, [slots[1]], [9])
    assert close(alone[0], logits_after(model, [*texts[1], 9]))


def test_cache_copied_prefix_continues_as_if_computed(model):
    cache = KVCache(model.config, slots=2, max_length=64)
    prefill(model, cache, [0], [PROMPTS[0]])
    cache.copy_prefix(0, 1, 3)
    assert close(prefill(model, cache, [1], [[100]])[0], logits_after(model, PROMPTS[3]))
    cache.reset(0, 3)
    assert cache.lengths == [3, 4]
    assert close(decode_step(model, cache, [0], [100])[0], logits_after(model, PROMPTS[3]))


def test_score_packed_sequences_equal_each_alone(model):
    sequences = [*PROMPTS, [3], []]
    together = score(model, sequences, batch_tokens=16, chunk=5)
    for values, sequence in zip(together, sequences, strict=True):
        assert len(values) == max(0, len(sequence) - 1)
        if values.numel():
            assert close(values, token_logprobs(model, sequence))
    tails = score(model, PROMPTS, starts=[4, 0, 39, 4])
    assert [len(t) for t in tails] == [2, 1, 1, 0]
    assert close(tails[0], together[0][3:])


def test_score_longer_than_the_context_is_refused(model):
    with pytest.raises(InvalidRequest, match="context"):
        score(model, [[1] * 513])
