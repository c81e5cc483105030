"""Distillation: on tokens that count, the model comes to give the whole vocabulary the probabilities of its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.load import load_model

from train_svc.worker.loss import divergence_gradients, logprob_gradients
from train_svc.worker.rows import Row
from train_svc.worker.step import StepResult, gradient_of, states_of

__all__ = ["backward_divergence", "load_teacher"]


def load_teacher(folder: Path, student: LanguageModel) -> LanguageModel:
    """Read a teacher, frozen, in the student's number format.

    Raises: InvalidRequest if its vocabulary is another one.
    """
    teacher = load_model(folder, dtype=student.dtype).requires_grad_(requires_grad=False)
    if teacher.config.vocab_size != student.config.vocab_size:
        raise InvalidRequest(
            f"the teacher has {teacher.config.vocab_size} tokens, the base version {student.config.vocab_size}; "
            "distillation compares them token by token",
            field="training_job.recipe.distill.teacher",
        )
    return teacher


def backward_divergence(
    model: LanguageModel,
    teacher: LanguageModel,
    rows: Sequence[Row],
    batches: Sequence[Row],
    *,
    temperature: float,
    data_weight: float,
) -> StepResult:
    """Gather the gradients of micro-batches of the rows and return what was seen.

    The loss of a token is (1 - data_weight) * KL + data_weight * cross-entropy; `divergence` and `cross_entropy` are
    their means over the step.
    """
    counted = sum(row.num_counted for row in rows)
    seen = {"divergence": 0.0, "cross_entropy": 0.0}
    for batch in batches:
        states = states_of(model, batch)
        hidden, weights = states.hidden.detach(), states.weights / counted
        with torch.no_grad():
            wanted = states_of(teacher, batch).hidden
        into = gradient_of(model.head)
        divergence, gradient = divergence_gradients(
            (hidden, model.head), (wanted, teacher.head), (1 - data_weight) * weights, temperature, into
        )
        logprobs, more = logprob_gradients(hidden, model.head, states.targets, -data_weight * weights, into)
        if states.hidden.requires_grad:
            states.hidden.backward(gradient + more)  # type: ignore[no-untyped-call]
        seen["divergence"] += float((weights * divergence).sum())
        seen["cross_entropy"] -= float((weights * logprobs).sum())
    loss = (1 - data_weight) * seen["divergence"] + data_weight * seen["cross_entropy"]
    return StepResult(loss, tuple(len(d.ids) for row in rows for d in row.documents), seen)
