from __future__ import annotations

import pytest
import torch
from bessemer.api.train.v1.training_job_pb2 import DistillMethod, TrainingRecipe
from bessemer.kernel.errors import InvalidRequest
from torch.nn import functional
from train_svc.worker import train
from train_svc.worker.loss import divergence_gradients
from train_svc.worker.model_folder import store_model

from tests.fixtures.tiny_model import make_tiny_model
from tests.fixtures.training import CHATS, Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(autouse=True)
def plain_torch():
    yield
    torch.use_deterministic_algorithms(False)


def job_of(bench, teacher_width=96, **settings):
    folder = bench.folder / f"teacher-{teacher_width}"
    if not folder.exists():
        make_tiny_model(folder, seed=5, hidden_size=teacher_width, initializer_range=0.3)
    recipe = TrainingRecipe(
        distill=DistillMethod(teacher="projects/p/models/t/versions/1", temperature=1.0, data_weight=0.0, **settings),
        learning_rate=0.003,
        tokens_per_step=128,
        steps=12,
        threads=1,
        sequence_length=64,
        checkpoint_every_steps=4,
        dtype="fp32",
    )
    job = bench.job(recipe, bench.rows("CHAT", CHATS))
    job.inputs.teacher_manifest.CopyFrom(store_model(bench.blobs, folder, {"license": "MIT"}).manifest)
    return job


def run(bench, job, saved_state=b"", die_at=None):
    context, link = bench.context(job, saved_state=saved_state)
    calls = iter(range(1_000))

    def check():
        if next(calls) == die_at:
            raise KeyboardInterrupt

    context.check = check
    try:
        outcome = train.run(context)
    except KeyboardInterrupt:
        return None, link
    context.beat()
    return outcome, link


def test_divergence_and_its_gradients_equal_those_of_plain_torch():
    generator = torch.Generator().manual_seed(1)
    hidden, head = (torch.randn(n, 8, generator=generator, requires_grad=True) for n in (700, 30))
    teacher = tuple(torch.randn(n, 12, generator=generator) for n in (700, 30))
    scales = torch.rand(700, generator=generator)
    logits, wanted = hidden @ head.t() / 2, teacher[0] @ teacher[1].t() / 2
    kl = functional.kl_div(logits.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="none").sum(1) * 4
    (kl * scales).sum().backward()
    into = torch.zeros_like(head)
    found, gradient = divergence_gradients((hidden.detach(), head.detach()), teacher, scales, 2.0, into)
    assert torch.allclose(found, kl.detach(), rtol=1e-4, atol=1e-5)
    assert torch.allclose(gradient, hidden.grad, rtol=1e-4, atol=1e-5)
    assert torch.allclose(into, head.grad, rtol=1e-4, atol=1e-4)


def test_the_model_comes_closer_to_its_teacher_and_a_resumed_job_ends_bit_identical(bench):
    job = job_of(bench)
    whole, link = run(bench, job)
    seen = [p.value for r in link.requests for p in r.metrics if p.key == "distill/divergence"]
    assert seen[-1] < 0.7 * seen[0]
    _, died = run(bench, job, die_at=6)
    resumed, _ = run(bench, job, died.states[-1])
    assert resumed.result.state_sha256 == whole.result.state_sha256


def test_a_teacher_with_another_vocabulary_is_refused(bench):
    folder = make_tiny_model(bench.folder / "other", vocab_size=600)
    job = job_of(bench)
    job.inputs.teacher_manifest.CopyFrom(store_model(bench.blobs, folder, {"license": "MIT"}).manifest)
    with pytest.raises(InvalidRequest, match="teacher has 600 tokens"):
        run(bench, job)
