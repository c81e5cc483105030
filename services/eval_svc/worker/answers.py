"""Answers that a model writes, the likeliest token at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.generate import generate_greedy

from eval_svc.domain.cases import Case
from eval_svc.domain.results import CaseResult
from eval_svc.worker.subject import Subject, preview, unscored

__all__ = ["Judge", "grade_answers"]

# Judges an answer against a target: 0 or 1, or the reason why neither.
Judge = Callable[[str, str], float | str]


def grade_answers(subject: Subject, cases: Sequence[Case], max_tokens: int, judge: Judge) -> list[CaseResult]:
    """Let the model answer all prompts in one batch and judge what it says."""
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
                output = subject.tokenizer.decode(ids).strip()
                results[case.id] = _result(case, output, judge, tokens=len(prompts[case.id]) + len(answers[case.id]))
    return [results[case.id] for case in cases]


def _result(case: Case, output: str, judge: Judge, *, tokens: int) -> CaseResult:
    verdict = judge(output, case.target)
    return CaseResult(
        id=case.id,
        cluster=case.cluster,
        score=None if isinstance(verdict, str) else verdict,
        output=output,
        target=case.target,
        prompt_preview=preview(case),
        tokens=tokens,
        bytes=len(output.encode()),
        unscored=verdict if isinstance(verdict, str) else "",
    )
