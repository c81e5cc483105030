"""Where prompts come from and how answers to them are graded: conversations of the data, or procedural tasks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

import numpy as np
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.modeling.chat import Message

__all__ = ["GRADERS", "Conversations", "Environment", "ReasoningGym", "Task", "exact", "numeric"]

_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_GYM_SIZE = 2**31 - 1


class Task(NamedTuple):
    """A conversation to answer, and the reward of an answer, 0 to 1."""

    prompt: Sequence[Message]
    grade: Callable[[str], float]


class Environment(Protocol):
    """Tasks in a fixed order without end; `size` are those of one pass."""

    size: int

    def task(self, position: int) -> Task:
        """Return the task at a position."""


def numeric(answer: str, target: str) -> float:
    """Return 1 if the last numbers of both texts are equal; thousands separators do not matter."""
    found, wanted = (_NUMBER.findall(text) for text in (answer, target))
    return float(bool(found and wanted) and _value(found[-1]) == _value(wanted[-1]))


def exact(answer: str, target: str) -> float:
    """Return 1 if both texts are equal but for case and runs of spaces."""
    return float(answer.casefold().split() == target.casefold().split())


GRADERS: dict[str, Callable[[str, str], float]] = {"numeric": numeric, "exact": exact}


class Conversations:
    """Conversations whose last answer is the right one; every pass has an order of its own."""

    def __init__(self, rows: Sequence[Sequence[Message]], *, grader: str, digest: str, seed: int) -> None:
        """Keep what ends with an answer.

        Raises: FailedPrecondition DATASET_EMPTY.
        """
        self._rows = [row for row in rows if len(row) > 1 and row[-1]["role"] == "assistant"]
        self._grade = GRADERS[grader]
        self._digest, self._seed = digest, seed
        self._order: tuple[int, list[int]] = (-1, [])
        self.size = len(self._rows)
        if not self.size:
            raise FailedPrecondition(
                "no conversation ends with an answer to grade against; curate such conversations",
                reason="DATASET_EMPTY",
            )

    def task(self, position: int) -> Task:
        """Return the conversation at a position without its last answer."""
        epoch, place = divmod(position, self.size)
        if self._order[0] != epoch:
            seed = hashlib.sha256(f"{self._digest}/{self._seed}/{epoch}".encode()).digest()
            generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed[:16], "little")))
            self._order = epoch, generator.permutation(self.size).tolist()
        *prompt, last = self._rows[self._order[1][place]]
        return Task(prompt, lambda answer: self._grade(answer, str(last["content"])))


class ReasoningGym:
    """Tasks that reasoning-gym makes and verifies; the task at a position depends on the seed alone."""

    def __init__(self, name: str, *, seed: int) -> None:
        """Open the task family `name`.

        Raises: InvalidRequest if the package is not installed or has no such tasks.
        """
        field = "training_job.recipe.grpo.environment"
        try:
            import reasoning_gym
        except ImportError:
            raise InvalidRequest(
                f"{name} needs the package reasoning-gym; install bessemer[problems]", field=field
            ) from None
        try:
            self._tasks: Any = reasoning_gym.create_dataset(name, size=_GYM_SIZE, seed=seed)
        except ValueError as error:
            raise InvalidRequest(f"reasoning-gym has no tasks {name!r}: {error}", field=field) from None
        self.size = _GYM_SIZE

    def task(self, position: int) -> Task:
        """Return the task at a position."""
        entry = self._tasks[position % self.size]
        prompt = [{"role": "user", "content": str(entry["question"])}]
        return Task(prompt, lambda answer: float(self._tasks.score_answer(answer.strip(), entry)))


def _value(number: str) -> Decimal:
    return Decimal(number.replace(",", ""))
