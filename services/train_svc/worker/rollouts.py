"""Answers that the model writes while it learns, graded, as rows: a function of weights, seed and position.

Ranks divide the prompts among them and then tell each other what was answered, so that all learn from the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import safetensors.numpy
import torch
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.generate import Sample, generate_sampled
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.score import score
from bessemer.modeling.tokenizer import Tokenizer
from torch import Tensor

from train_svc.domain.recipe import RolloutMethod
from train_svc.worker.environments import Environment, Task
from train_svc.worker.feed import Feed
from train_svc.worker.judges import RewardModels
from train_svc.worker.ranks import Ranks
from train_svc.worker.rows import Row

__all__ = ["Answer", "Choose", "Groups", "RolloutFeed"]


class Answer(NamedTuple):
    """Ids of a prompt and of a drawn answer, and per token of the answer its log-probability, in nats.

    `behaviour` is that of the weights it was drawn with, `reference` that of the base version. An answer that `is_cut`
    reached the limit.
    """

    prompt: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    behaviour: npt.NDArray[np.float32]
    reference: npt.NDArray[np.float32]
    reward: float
    is_cut: bool


Groups = Sequence[Sequence[Answer]]
Choose = Callable[[Groups], list[Row]]  # what a method learns from several answers to each prompt


class _Models(NamedTuple):
    policy: Callable[[], LanguageModel]
    reference: LanguageModel
    ranks: Ranks


class RolloutFeed(Feed):
    """Rows of the answers that count; `begin` has to be called before the first row.

    `seen` are means over the newest answers, empty when a step learned from the same ones again: `reward`, `kl` to the
    reference in nats per answer, `entropy` in nats per token, `truncated` and `used` (shares), `length` in tokens.
    """

    def __init__(
        self,
        environment: Environment,
        method: RolloutMethod,
        tokenizer: Tokenizer,
        choose: Choose,
        *,
        judge: RewardModels | None = None,
        digest: str,
        seed: int,
    ) -> None:
        self._digest, self._seed = digest, seed
        self._environment, self._choose, self._judge = environment, choose, judge
        self._method = method
        self._tokenizer = tokenizer
        self._models: _Models | None = None
        self._block, self._groups, self._rows = -1, list[Sequence[Answer]](), list[Row]()
        self.seen: dict[str, float] = {}

    def __len__(self) -> int:
        return self._environment.size * self._method.updates_per_rollout

    @property
    def num_tokens(self) -> int:
        """Tokens of a pass, all answers as long as they may be."""
        return len(self) * self._method.completions_per_prompt * self._method.max_new_tokens

    def rows_per_step(self, tokens_per_step: int) -> int:
        """Return how many prompts a step answers."""
        del tokens_per_step
        return self._method.prompts_per_step

    def begin(self, policy: Callable[[], LanguageModel], reference: LanguageModel, ranks: Ranks) -> None:
        """Name what returns the model that answers, with its weights as they then are, and the one to stay close to."""
        self._models = _Models(policy, reference, ranks)

    def take(self, position: int, count: int) -> list[Row]:
        """Return what the answers to the prompts at `position` teach: no rows if no group has rewards that differ."""
        block = position // (count * self._method.updates_per_rollout)
        self.seen = {}
        if self._block != block:
            self._block, self._groups = block, self._answer(block, count)
            self._rows = self._choose(self._groups)
            self.seen = _seen(self._groups, self._rows)
        return self._rows

    def state(self) -> dict[str, Tensor]:
        """Return the newest answers, from which the next steps may still learn."""
        arrays = {f"rollouts/{key}": torch.from_numpy(array) for key, array in _to_arrays(self._groups).items()}
        return {"rollouts/block": torch.tensor(self._block), **arrays}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned."""
        self._block = int(state["rollouts/block"])
        self._groups = _from_arrays({key: state[f"rollouts/{key}"].numpy() for key in _ARRAYS})
        self._rows = self._choose(self._groups)

    def _answer(self, block: int, count: int) -> list[Sequence[Answer]]:
        """Answer the prompts of a block, each rank its part, and return the answers of all."""
        assert self._models is not None
        ranks, policy = self._models.ranks, self._models.policy()
        positions = range(block * count, (block + 1) * count)
        tasks = [self._environment.task(position) for position in positions]
        prompts = [self._tokenizer.render_chat(task.prompt) for task in tasks]
        limit, context = self._method.max_new_tokens, policy.config.context_length
        longest = max(map(len, prompts))
        if longest + limit > context:
            raise InvalidRequest(
                f"a prompt of {longest} tokens and an answer of {limit} exceed the context of {context}; "
                "lower max_new_tokens or leave out long prompts",
                field="training_job.recipe.max_new_tokens",
            )
        mine = range(ranks.rank, count, ranks.size)
        own = self._drawn(policy, [(tasks[i], prompts[i], self._generator(positions[i])) for i in mine])
        told = ranks.share(safetensors.numpy.save(_to_arrays(own)))
        parts = [_from_arrays(safetensors.numpy.load(part)) for part in told]
        return [parts[i % ranks.size][i // ranks.size] for i in range(count)]

    def _generator(self, position: int) -> torch.Generator:
        """Return what the answers to one prompt are drawn with, whoever draws them and whatever else."""
        seed = hashlib.sha256(f"{self._digest}/{self._seed}/rollouts/{position}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(seed[:7], "little"))

    def _drawn(
        self, policy: LanguageModel, asked: Sequence[tuple[Task, list[int], torch.Generator]]
    ) -> list[Sequence[Answer]]:
        if not asked:
            return []
        assert self._models is not None
        prompts = [prompt for _, prompt, _ in asked]
        groups = generate_sampled(
            policy,
            prompts,
            copies=self._method.completions_per_prompt,
            max_new_tokens=self._method.max_new_tokens,
            stop=self._tokenizer.eos_ids,
            generators=[generator for _, _, generator in asked],
        )
        known = iter(
            score(
                self._models.reference,
                [[*prompt, *sample.ids] for prompt, group in zip(prompts, groups, strict=True) for sample in group],
                starts=[len(prompt) for prompt, group in zip(prompts, groups, strict=True) for _ in group],
            )
        )
        return [
            [
                Answer(
                    np.array(prompt, np.int64),
                    np.array(sample.ids, np.int64),
                    np.array(sample.logprobs, np.float32),
                    next(known).float().numpy(),
                    reward,
                    sample.ids[-1] not in self._tokenizer.eos_ids,
                )
                for sample, reward in zip(group, self._rewards(task, prompt, group), strict=True)
            ]
            for (task, prompt, _), group in zip(asked, groups, strict=True)
        ]

    def _rewards(self, task: Task, prompt: list[int], group: Sequence[Sample]) -> list[float]:
        if self._judge is not None:
            return self._judge([(prompt, sample.ids) for sample in group])
        return [task.grade(self._text(sample.ids)) for sample in group]

    def _text(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([token for token in ids if token not in self._tokenizer.eos_ids])


def _seen(groups: Groups, rows: Sequence[Row]) -> dict[str, float]:
    answers = [answer for group in groups for answer in group]
    tokens = sum(len(answer.ids) for answer in answers)
    drawn = sum(float(answer.behaviour.sum()) for answer in answers)
    known = sum(float(answer.reference.sum()) for answer in answers)
    return {
        "reward": sum(answer.reward for answer in answers) / len(answers),
        "kl": (drawn - known) / len(answers),
        "entropy": -drawn / tokens,
        "truncated": sum(answer.is_cut for answer in answers) / len(answers),
        "length": tokens / len(answers),
        "used": sum(len(row.documents) for row in rows) / len(answers),
    }


_ARRAYS = ("sizes", "ids", "streams", "rewards")


def _to_arrays(groups: Groups) -> dict[str, npt.NDArray[np.generic]]:
    """Return answers as arrays: sizes of group, prompt and answer and `is_cut` [N, 4], ids, streams [2, T], rewards."""
    flat = [(len(group), answer) for group in groups for answer in group]
    return {
        "sizes": np.array([(n, len(a.prompt), len(a.ids), a.is_cut) for n, a in flat], np.int64).reshape(-1, 4),
        "ids": np.concatenate([np.empty(0, np.int64), *(part for _, a in flat for part in (a.prompt, a.ids))]),
        "streams": np.concatenate(
            [np.empty((2, 0), np.float32), *(np.stack((a.behaviour, a.reference)) for _, a in flat)], 1
        ),
        "rewards": np.array([a.reward for _, a in flat], np.float64),
    }


def _from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> list[Sequence[Answer]]:
    answers, begin, place = [], 0, 0
    ids, streams = arrays["ids"].astype(np.int64), arrays["streams"].astype(np.float32)
    sizes, rewards = arrays["sizes"].tolist(), arrays["rewards"].tolist()
    for (_, opening, length, is_cut), reward in zip(sizes, rewards, strict=True):
        middle, end = begin + opening, begin + opening + length
        behaviour, reference = streams[:, place : place + length]
        answers.append(Answer(ids[begin:middle], ids[middle:end], behaviour, reference, reward, bool(is_cut)))
        begin, place = end, place + length
    size = sizes[0][0] if sizes else 1
    return [answers[begin : begin + size] for begin in range(0, len(answers), size)]
