"""Answers that a model writes, the likeliest token at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.generate import generate_greedy

from eval_svc.domain.cases import Case
from eval_svc.domain.results import CaseResult, Mark
from eval_svc.worker.subject import Subject, marked, unscored

__all__ = ["grade_answers"]


def grade_answers(
    subject: Subject,
    cases: Sequence[Case],
    max_tokens: int,
    mark: Callable[[str, Case], Mark],
    *,
    ends: Sequence[str] = (),
) -> list[CaseResult]:
    """Let the model answer all prompts in one batch and mark what it says before the first of `ends`."""
    results: dict[str, CaseResult] = {}
    prompts: dict[str, list[int]] = {}
    for case in cases:
        try:
            ids = subject.encode_prompt(case)
        except InvalidRequest as error:
            results[case.id] = unscored(case, error.message)
            continue
        if len(ids) + max_tokens > subject.context_length:
            results[case.id] = unscored(
                case, f"prompt and answer do not fit into the context of {subject.context_length} tokens"
            )
        elif not ids:
            results[case.id] = unscored(case, "the prompt has no tokens")
        else:
            prompts[case.id] = ids
    stop = subject.tokenizer.eos_ids
    if prompts:
        written = generate_greedy(subject.model, list(prompts.values()), max_new_tokens=max_tokens, stop=stop)
        answers = dict(zip(prompts, written, strict=True))
        for case in cases:
            if case.id in prompts:
                ids = [token for token in answers[case.id] if token not in stop]
                output = before(subject.tokenizer.decode(ids), ends)
                tokens = len(prompts[case.id]) + len(answers[case.id])
                results[case.id] = marked(case, output, mark(output, case), tokens=tokens)
    return [results[case.id] for case in cases]


def before(text: str, ends: Sequence[str]) -> str:
    """Return a text up to the first of these ends."""
    return text[: min((at for end in ends if (at := text.find(end)) >= 0), default=len(text))]
