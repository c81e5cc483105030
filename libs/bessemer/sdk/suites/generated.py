"""Suites that are made, not found: reasoning problems with answers that a program knows."""

from __future__ import annotations

import re

from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.sdk.suites.draft import SuiteDraft

__all__ = ["generate_suite"]

CASES_MAX = 20_000
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def generate_suite(source: str) -> SuiteDraft:
    """Return the suite of `reasoning-gym:TASK:CASES:SEED`; the same source gives the same suite.

    Answers that are numbers are compared as numbers, others as texts. Tasks whose answers only their own program can
    check are refused.
    Raises: InvalidRequest naming what is wrong; FailedPrecondition if reasoning-gym is missing.
    """
    kind, _, rest = source.partition(":")
    match = re.fullmatch(r"([a-z0-9_]+):(\d{1,6}):(\d{1,9})", rest)
    if kind != "reasoning-gym" or match is None or not 1 <= int(match[2]) <= CASES_MAX:
        raise InvalidRequest(
            "a generated suite looks like reasoning-gym:TASK:CASES:SEED, such as reasoning-gym:basic_arithmetic:200:1, "
            f"with 1 to {CASES_MAX} cases; got {source!r}",
            field="generate",
        )
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise FailedPrecondition(
            "generated suites need reasoning-gym; install it with: pip install 'bessemer[problems]'",
            reason="FIELD_INVALID",
        ) from error
    task, size, seed = match[1], int(match[2]), int(match[3])
    if task not in DATASETS:
        raise InvalidRequest(
            f"reasoning-gym has no task {task!r}; it has {', '.join(sorted(DATASETS))}", field="generate"
        )
    problems = list(reasoning_gym.create_dataset(task, size=size, seed=seed))
    answers = [problem["answer"] for problem in problems]
    if not all(isinstance(answer, str) and answer.strip() for answer in answers):
        raise InvalidRequest(f"only the program of {task} can check its answers; take another task", field="generate")
    grader = "numeric" if all(map(_NUMBER.fullmatch, answers)) else "exact"
    cases = [
        {"id": f"{task}:{seed}:{number}", "prompt": f"{problem['question']}\nAnswer:", "target": answer}
        for number, (problem, answer) in enumerate(zip(problems, answers, strict=True))
    ]
    return SuiteDraft(grader=grader, cases=cases, notes=[f"{task} of reasoning-gym, seed {seed}"])
