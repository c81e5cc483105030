"""Chunked losses against their plain formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from bessemer.modeling.load import load_model
from train_svc.worker import loss as chunked
from train_svc.worker.components import Losses
from train_svc.worker.rows import Document, Pair, Row
from train_svc.worker.step import answer_logprobs, backward

from tests.fixtures.tiny_model import make_tiny_model


@pytest.fixture
def tensors(monkeypatch):
    monkeypatch.setattr(chunked, "_CHUNK", 16)
    generator = torch.Generator().manual_seed(0)
    hidden, head = (torch.randn(n, 24, generator=generator).requires_grad_() for n in (50, 90))
    return hidden, head, torch.randint(0, 90, (50,), generator=generator), torch.rand(50, generator=generator)


def test_logprob_gradients_in_chunks_equal_full(tensors):
    hidden, head, targets, scales = tensors
    expected = (hidden @ head.t()).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    grad_hidden, grad_head = torch.autograd.grad((scales * expected).sum(), (hidden, head))
    total = torch.ones_like(head)
    logprobs, gradient = chunked.logprob_gradients(hidden, head, targets, scales, total)
    assert torch.allclose(logprobs, expected, atol=1e-5)
    assert torch.allclose(gradient, grad_hidden, rtol=1e-4, atol=1e-5)
    assert torch.allclose(total - 1, grad_head, rtol=1e-4, atol=1e-5)
    assert torch.allclose(chunked.token_logprobs(hidden, head, targets), expected, atol=1e-5)
    frozen = chunked.logprob_gradients(hidden, head, targets, scales, None)[1]
    assert torch.equal(frozen, gradient)


def test_logprob_gradients_huge_logits_stay_finite(tensors):
    hidden, head, targets, scales = tensors
    logprobs, gradient = chunked.logprob_gradients(hidden * 1e4, head, targets, scales, None)
    assert logprobs.isfinite().all()
    assert gradient.isfinite().all()


def test_preference_step_equals_plain_formula(tmp_path):
    model = load_model(make_tiny_model(tmp_path))
    generator = torch.Generator().manual_seed(1)

    def document(length, start):
        weights = torch.zeros(length)
        weights[start:] = 1
        return Document(torch.randint(0, 512, (length,), generator=generator).numpy(), weights.numpy())

    pairs = [(document(20, 8), document(17, 8)), (document(9, 4), document(14, 4))]
    references = [(-30.0, -35.0), (-20.0, -12.0)]
    rows = [Row(pair, (Pair(0, 1, *reference),)) for pair, reference in zip(pairs, references, strict=True)]
    result = backward(model, rows, Losses(cross_entropy=0.7, beta=0.3))
    ours = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()

    def answer(doc):
        ids = torch.from_numpy(doc.ids)
        logits = model.logits(model(ids, torch.arange(len(ids)), [len(ids)]))[:-1]
        logprobs = logits.log_softmax(-1).gather(1, ids[1:, None])[:, 0]
        return (logprobs * torch.from_numpy(doc.weights)[1:]).sum()

    values = [(answer(chosen), answer(rejected)) for chosen, rejected in pairs]
    dpo = sum(-F.logsigmoid(0.3 * ((c - c0) - (r - r0))) for (c, r), (c0, r0) in zip(values, references, strict=True))
    expected = dpo / 2 - 0.7 * sum(c for c, _ in values) / (12 + 5)
    expected.backward()
    assert result.loss == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        assert (ours[name] - parameter.grad).norm() <= 1e-5 * parameter.grad.norm(), name
    assert answer_logprobs(model, pairs[0]) == pytest.approx([v.item() for v in values[0]], rel=1e-5)
