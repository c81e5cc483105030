"""Answers that the model writes while it learns, graded, as rows: a function of weights, seed and position."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from bessemer.api.train.v1.training_job_pb2 import GrpoMethod
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.generate import Sample, generate_sampled
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.score import score
from bessemer.modeling.tokenizer import Tokenizer
from torch import Tensor

from train_svc.worker.advantages import shares
from train_svc.worker.environments import Environment
from train_svc.worker.feed import Feed
from train_svc.worker.rows import Document, Rollout, Row

__all__ = ["RolloutFeed"]


class _Models(NamedTuple):
    policy: LanguageModel
    reference: LanguageModel


class RolloutFeed(Feed):
    """One row an answer that counts; `begin` has to be called before the first row.

    `seen` are means over the newest answers, empty when a step learned from the same ones again: `reward`, `kl` to the
    reference in nats per answer, `entropy` in nats per token, `truncated` and `used` (shares), `length` in tokens.
    """

    def __init__(
        self, environment: Environment, method: GrpoMethod, tokenizer: Tokenizer, *, digest: str, seed: int
    ) -> None:
        self._digest, self._seed = digest, seed
        self._environment = environment
        self._method = method
        self._tokenizer = tokenizer
        self._models: _Models | None = None
        self._drawn: tuple[int, list[Row]] = (-1, [])
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

    def begin(self, policy: LanguageModel, reference: LanguageModel) -> None:
        """Name the weights that answer, as they will be at each step, and those to stay close to."""
        self._models = _Models(policy, reference)

    def take(self, position: int, count: int) -> list[Row]:
        """Return the answers to the prompts at `position`; none if no group has rewards that differ."""
        block = position // (count * self._method.updates_per_rollout)
        self.seen = {}
        if self._drawn[0] != block:
            self._drawn = block, self._answer(block, count)
        return self._drawn[1]

    def state(self) -> dict[str, Tensor]:
        """Return the newest answers, from which the next steps may still learn."""
        block, rows = self._drawn
        documents, rollouts = [row.documents[0] for row in rows], [row.rollouts[0] for row in rows]
        streams = [np.stack((d.weights, *r[1:])) for d, r in zip(documents, rollouts, strict=True)]
        return {
            "rollouts/block": torch.tensor(block),
            "rollouts/lengths": torch.tensor([len(d.ids) for d in documents], dtype=torch.long),
            "rollouts/ids": torch.from_numpy(np.concatenate([np.empty(0, np.int64), *(d.ids for d in documents)])),
            "rollouts/streams": torch.from_numpy(np.concatenate([np.empty((5, 0), np.float32), *streams], 1)),
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned."""
        lengths = state["rollouts/lengths"].tolist()
        pieces = zip(
            *(state[f"rollouts/{key}"].split_with_sizes(lengths, -1) for key in ("ids", "streams")), strict=True
        )
        rows = []
        for ids, streams in pieces if lengths else ():
            weights, behaviour, reference, advantages, shares_ = streams.numpy()
            rollout = Rollout(0, behaviour, reference, advantages, shares_)
            rows.append(Row((Document(ids.numpy(), weights),), rollouts=(rollout,)))
        self._drawn = int(state["rollouts/block"]), rows

    def _answer(self, block: int, count: int) -> list[Row]:
        assert self._models is not None
        tasks = [self._environment.task(block * count + i) for i in range(count)]
        prompts = [self._tokenizer.render_chat(task.prompt) for task in tasks]
        limit, context = self._method.max_new_tokens, self._models.policy.config.context_length
        longest = max(map(len, prompts))
        if longest + limit > context:
            raise InvalidRequest(
                f"a prompt of {longest} tokens and an answer of {limit} exceed the context of {context}; "
                "lower grpo.max_new_tokens or leave out long prompts",
                field="training_job.recipe.grpo.max_new_tokens",
            )
        seed = hashlib.sha256(f"{self._digest}/{self._seed}/rollouts/{block}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(seed[:7], "little"))
        groups = generate_sampled(
            self._models.policy,
            prompts,
            copies=self._method.completions_per_prompt,
            max_new_tokens=limit,
            stop=self._tokenizer.eos_ids,
            generator=generator,
        )
        rewards = np.array(
            [[task.grade(self._text(s.ids)) for s in group] for task, group in zip(tasks, groups, strict=True)]
        )
        return self._rows(prompts, groups, rewards)

    def _text(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([token for token in ids if token not in self._tokenizer.eos_ids])

    def _rows(
        self, prompts: Sequence[Sequence[int]], groups: Sequence[Sequence[Sample]], rewards: npt.NDArray[np.float64]
    ) -> list[Row]:
        """Compare answers with each other and with the reference, note what was seen, keep those that count."""
        assert self._models is not None
        lengths = np.array([[len(sample.ids) for sample in group] for group in groups], np.float64)
        is_cut = np.array([[s.ids[-1] not in self._tokenizer.eos_ids for s in group] for group in groups])
        share = shares(self._method.variant, rewards, lengths, is_cut, limit=self._method.max_new_tokens)
        flat = [(prompt, sample) for prompt, group in zip(prompts, groups, strict=True) for sample in group]
        known = score(
            self._models.reference,
            [[*prompt, *sample.ids] for prompt, sample in flat],
            starts=[len(prompt) for prompt, _ in flat],
        )
        divergence = sum(sum(s.logprobs) - float(k.sum()) for (_, s), k in zip(flat, known, strict=True)) / len(flat)
        self.seen = {
            "reward": float(rewards.mean()),
            "kl": divergence,
            "entropy": -sum(sum(s.logprobs) for _, s in flat) / float(lengths.sum()),
            "truncated": float(is_cut.mean()),
            "length": float(lengths.mean()),
            "used": float((share.weights > 0).mean()),
        }
        columns = zip(flat, known, share.advantages.ravel(), share.weights.ravel(), strict=True)
        return [
            _row(*pair, reference, advantage, weight) for pair, reference, advantage, weight in columns if weight > 0
        ]


def _row(prompt: Sequence[int], sample: Sample, reference: Tensor, advantage: float, weight: float) -> Row:
    opening, length = len(prompt), len(prompt) + len(sample.ids)

    def stream(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
        out = np.zeros(length, np.float32)
        out[opening:] = np.asarray(values, np.float32)
        return out

    document = Document(np.array([*prompt, *sample.ids], np.int64), stream(1.0))
    rollout = Rollout(0, stream(sample.logprobs), stream(reference.numpy()), stream(advantage), stream(weight))
    return Row((document,), rollouts=(rollout,))
