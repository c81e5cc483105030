"""The last hop: whether an endpoint reads, scores and writes as the model's own files do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from bessemer.api.train.v1.model_pb2 import ParityCheck, ParityReport
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.parity.limits import limits_of
from bessemer.modeling.parity.probes import Probes
from bessemer.modeling.parity.subjects import TorchSubject

from eval_svc.domain.cases import Message
from eval_svc.domain.served import TaskCheck
from eval_svc.worker.endpoint import Answer, Endpoint, Prompt

__all__ = ["compare_served", "report_of"]

_NEW_TOKENS = 24
_DECIDED = 0.5  # nats between first and second choice, as in `bessemer.modeling.parity.compare`
# Mean difference of a token's log-probability, in nats: what the divergences that each format is allowed amount to.
_LOGPROB_ERROR = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 5e-2, "int8": 0.15, "int4": 0.6}


def compare_served(
    reference: TorchSubject, endpoint: Endpoint, probes: Probes, *, precision: str, check: Callable[[], None]
) -> list[ParityCheck]:
    """Ask the endpoint for tokens, log-probabilities and greedy text of the probes and judge them by the reference.

    Every answer goes through template, batching, cache and the numbers of the engine that serves; nothing of that is
    loaded here.
    """
    prompts: list[Prompt] = [*probes.texts, *(_turns(each) for each in probes.conversations)]
    read, said, asked = [], [], []
    for prompt in prompts:
        check()
        ours = _tokens(reference, prompt)
        theirs = _or_none(lambda prompt=prompt: endpoint.tokenize(prompt))  # type: ignore[misc]
        if ours != theirs:
            read.append(f"{_label(prompt)}: {_cut(theirs)}, was {_cut(ours)}")
        elif ours and len(ours) + _NEW_TOKENS <= reference.model.config.context_length:
            asked.append(ours)
            said.append(endpoint.generate(prompt, max_tokens=_NEW_TOKENS, logprobs=True))
    checks = [_none("tokenizer/prompts", read)]
    return checks + (_numbers(reference, asked, said, precision) if asked else [])


def report_of(checks: Sequence[ParityCheck], tasks: Sequence[TaskCheck], **facts: Any) -> ParityReport:
    """Return the report of the hop `served`."""
    every = [
        *checks,
        *(
            ParityCheck(name=t.name, value=t.value, limit=t.limit, passed=t.value <= t.limit, detail=t.detail)
            for t in tasks
        ),
    ]
    return ParityReport(hop="served", checks=every, passed=all(each.passed for each in every), **facts)


def _numbers(
    reference: TorchSubject, prompts: Sequence[list[int]], said: Sequence[Answer], precision: str
) -> list[ParityCheck]:
    limits = limits_of(precision, has_experts=reference.model.config.has_experts)
    errors, regrets, agreed, stops = [], [], [], []
    ends = reference.special().end
    for prompt, answer in zip(prompts, said, strict=True):
        written = list(answer.token_ids)
        if not written:
            stops.append("an answer without tokens")
            continue
        logprobs = _log_softmax(reference.logits([*prompt, *written]))[len(prompt) - 1 : -1]
        own = logprobs[np.arange(len(written)), written]
        errors += np.abs(own - np.array(answer.logprobs)).tolist()
        regrets += (logprobs.max(-1) - own).tolist()
        second, first = np.partition(logprobs, -2, axis=-1)[:, -2:].T
        agreed += (logprobs.argmax(-1) == written)[first - second >= _DECIDED].tolist()
        if any(token in ends for token in written[:-1]):
            stops.append("went on after a token that ends a turn")
    share = float(np.mean(agreed)) if agreed else 1.0
    error = float(np.mean(errors)) if errors else float("inf")
    regret = float(np.mean(regrets)) if regrets else float("inf")
    return [
        _at_most("served/logprob_error", error, _LOGPROB_ERROR[precision], f"mean of {len(errors)} tokens, nats"),
        _at_most("greedy/regret_mean", regret, limits.regret_mean, ""),
        ParityCheck(
            name="logits/top1_agreement",
            value=share,
            limit=limits.top1,
            passed=share >= limits.top1,
            detail=f"of {len(agreed)} decided positions",
        ),
        _none("greedy/stops", stops),
    ]


def _tokens(reference: TorchSubject, prompt: Prompt) -> list[int] | None:
    if isinstance(prompt, str):
        return reference.prompt(prompt)
    turns = [{"role": turn.role, "content": turn.content} for turn in prompt]
    return _or_none(lambda: reference.chat(turns, add_generation_prompt=True))


def _or_none(ask: Callable[[], list[int]]) -> list[int] | None:
    try:
        return ask()
    except InvalidRequest:
        return None  # a refusal, which the other must share


def _turns(conversation: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    return tuple(Message(role=turn["role"], content=turn["content"]) for turn in conversation)


def _label(prompt: Prompt) -> str:
    return repr(prompt[:40]) if isinstance(prompt, str) else f"a conversation of {len(prompt)} turns"


def _cut(ids: list[int] | None) -> str:
    return "refused" if ids is None else f"{ids[:6]} ({len(ids)})"


def _log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(-1, keepdims=True))
    return wide


def _none(name: str, problems: Sequence[str]) -> ParityCheck:
    return ParityCheck(
        name=name, value=len(problems), limit=0, passed=not problems, detail=next(iter(problems), "")[:300]
    )


def _at_most(name: str, value: float, limit: float, detail: str) -> ParityCheck:
    return ParityCheck(name=name, value=value, limit=limit, passed=value <= limit, detail=detail)
