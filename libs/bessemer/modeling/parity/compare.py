"""The comparison of two models: tokens exactly, logits within limits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bessemer.api.train.v1.model_pb2 import ParityCheck, ParityReport
from bessemer.kernel.errors import BessemerError, FailedPrecondition
from bessemer.modeling.chat import Message
from bessemer.modeling.parity.limits import Limits, limits_of
from bessemer.modeling.parity.probes import Probes

__all__ = ["Special", "Subject", "compare", "require"]

# A position is decided when the reference's second choice is this much less likely, in nats.
_DECIDED = 0.5
Array = npt.NDArray[np.float32]


class Special(NamedTuple):
    """Tokens with a meaning, and how the model wants to be sampled.

    `end` are the ids that end a turn; `generation` are the sampling settings that travel with the model, None for a
    format that has no place for them. `also_end` are other special tokens at which the runtime stops by itself.
    """

    begin: int | None
    end: frozenset[int]
    generation: Mapping[str, float] | None
    also_end: frozenset[int] = frozenset()


class Subject(Protocol):
    """A model as some runtime sees it: how it reads, what it computes, where it stops."""

    runtime: str

    def vocabulary(self) -> Sequence[str]:
        """Return the token of every id."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, special tokens in it recognised, nothing put around it."""

    def prompt(self, text: str) -> list[int]:
        """Return the ids that this runtime feeds the model for a plain text."""

    def chat(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> list[int]:
        """Return the ids that this runtime feeds the model for a conversation.

        Raises: BessemerError if the template refuses it.
        """

    def special(self) -> Special:
        """Return what ends a turn, what begins a text, and the sampling settings."""

    def logits(self, ids: Sequence[int]) -> Array:
        """Return the logits after each token, [T, V]."""

    def generate(self, ids: Sequence[int], new_tokens: int) -> list[int]:
        """Return the greedy continuation, through the runtime's cache, up to and including a token that ends it."""


def compare(
    reference: Subject,
    candidate: Subject,
    probes: Probes,
    *,
    hop: str,
    precision: str,
    has_experts: bool = False,
    weight_errors: Mapping[str, float] | None = None,
    check: Callable[[], None] = lambda: None,
) -> ParityReport:
    """Ask both the same and return what differs; `weight_errors` are those of the stored weights, by tensor.

    `check` is called between probes and may raise. Nothing that the candidate does is assumed: vocabulary, texts,
    conversations, special tokens, sampling settings, logits and its own greedy text are all asked for.
    """
    limits = limits_of(precision, has_experts=has_experts)
    checks = [_vocabulary(reference, candidate)]
    checks += _reading(reference, candidate, probes)
    checks += _special(reference, candidate)
    if checks[0].passed:  # logits of different vocabularies cannot be told apart
        checks += _scores(reference, candidate, probes, limits=limits, check=check)
        checks += _writing(reference, candidate, probes, limits)
        checks += _task(reference, candidate, probes, limits)
    if weight_errors is not None:
        name = max(weight_errors, key=lambda key: _or_worst(weight_errors[key]))
        checks.append(_at_most("weights/error", _or_worst(weight_errors[name]), limits.weight_error, detail=name))
    return ParityReport(
        hop=hop,
        runtime=candidate.runtime,
        precision=precision,
        checks=checks,
        texts=len(probes.texts) + len(probes.conversations),
        tokens=sum(map(len, probes.sequences)),
        passed=all(each.passed for each in checks),
    )


def require(report: ParityReport) -> ParityReport:
    """Return a report that passed.

    Raises: FailedPrecondition PARITY_FAILED naming every check that failed, by how much, and what to do.
    """
    if report.passed:
        return report
    failed = [each for each in report.checks if not each.passed]
    told = "; ".join(
        f"{each.name} is {each.value:.4g}, limit {each.limit:.4g}" + (f" ({each.detail})" if each.detail else "")
        for each in failed
    )
    raise FailedPrecondition(
        f"{report.hop} to {report.precision} for {report.runtime} changes what the model says: {told}; "
        "nothing was stored. Take a number format with more bits, or repair what the check names",
        reason="PARITY_FAILED",
        hop=report.hop,
        check=failed[0].name,
        value=failed[0].value,
        limit=failed[0].limit,
    )


def _vocabulary(reference: Subject, candidate: Subject) -> ParityCheck:
    pairs = enumerate(itertools.zip_longest(reference.vocabulary(), candidate.vocabulary()))
    different = [(i, was, now) for i, (was, now) in pairs if was != now]
    detail = ""
    if different:
        i, was, now = different[0]
        detail = f"id {i} is {now!r}, was {was!r}"
    return _none("tokenizer/vocabulary", len(different), detail)


def _reading(reference: Subject, candidate: Subject, probes: Probes) -> list[ParityCheck]:
    """Compare the ids of texts and of what the runtime would feed the model."""
    texts = [_difference(text[:40], reference.encode(text), candidate.encode(text)) for text in probes.texts]
    checks = [_first("tokenizer/texts", texts)]
    if not probes.conversations:
        prompts = [_difference(text[:40], reference.prompt(text), candidate.prompt(text)) for text in probes.texts]
        return [*checks, _first("tokenizer/prompts", prompts)]
    chats = []
    for i, turns in enumerate(probes.conversations):
        for opened in (False, True):
            label = f"conversation {i + 1}{' with the answer opened' if opened else ''}"
            chats.append(_difference(label, _chat(reference, turns, opened), _chat(candidate, turns, opened)))
    return [*checks, _first("template/conversations", chats)]


def _chat(subject: Subject, turns: Sequence[Message], opened: bool) -> list[int] | None:  # noqa: FBT001
    try:
        return subject.chat(turns, add_generation_prompt=opened)
    except BessemerError:
        return None  # a refusal, which the other must share


def _difference(label: str, ours: list[int] | None, theirs: list[int] | None) -> str:
    """Return where two rows of ids part, or nothing."""
    if ours == theirs:
        return ""
    if ours is None or theirs is None:
        return f"{label}: {'refused' if theirs is None else 'accepted'}, unlike before"
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    return f"{label}: from token {at} on {theirs[at : at + 4]}, was {ours[at : at + 4]}"


def _special(reference: Subject, candidate: Subject) -> list[ParityCheck]:
    ours, theirs = reference.special(), candidate.special()
    ends = ours.end ^ theirs.end
    was, now = ours.generation or {}, theirs.generation
    changed = [] if now is None else sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
    wrong = f"{changed[0]} is {(now or {}).get(changed[0])}, was {was.get(changed[0])}" if changed else ""
    begins = "" if ours.begin == theirs.begin else f"is {theirs.begin}, was {ours.begin}"
    return [
        _none("special/end_ids", len(ends), f"{sorted(theirs.end)}, was {sorted(ours.end)}" if ends else ""),
        _none("special/begin_id", int(bool(begins)), begins),
        _none("generation/settings", len(changed), wrong),
    ]


def _scores(
    reference: Subject, candidate: Subject, probes: Probes, *, limits: Limits, check: Callable[[], None]
) -> list[ParityCheck]:
    """Compare the distributions over the next token at every position."""
    divergences, errors, agreements = [], [], []
    for ids in probes.sequences:
        check()
        ours, theirs = reference.logits(ids), candidate.logits(ids)
        if ours.shape != theirs.shape:
            return [_none("logits/shape", 1, f"{theirs.shape}, was {ours.shape}")]
        scale = max(1.0, float(np.abs(ours).max()))
        errors.append(_or_worst(float(np.abs(theirs - ours).max()) / scale))
        p, q = _log_softmax(ours), _log_softmax(theirs)
        divergences.append((np.exp(p) * (p - q)).sum(-1))
        second, first = np.partition(p, -2, axis=-1)[:, -2:].T
        decided = first - second >= _DECIDED
        agreements.append((p.argmax(-1) == q.argmax(-1))[decided])
    # A sum of rounded terms may fall just below zero.
    kl = np.nan_to_num(np.concatenate(divergences).clip(0.0, None), nan=np.inf)
    agreed = np.concatenate(agreements)
    share = float(agreed.mean()) if len(agreed) else 1.0
    largest = [] if limits.logit_error is None else [_at_most("logits/relative_error", max(errors), limits.logit_error)]
    return [
        *largest,
        _at_most("logits/kl_mean", float(kl.mean()), limits.kl_mean),
        _at_most("logits/kl_p99", float(np.percentile(kl, 99)), limits.kl_p99),
        _at_least("logits/top1_agreement", share, limits.top1, detail=f"of {len(agreed)} decided positions"),
    ]


def _writing(reference: Subject, candidate: Subject, probes: Probes, limits: Limits) -> list[ParityCheck]:
    """Let the candidate write, through its cache, and let the reference judge what it wrote."""
    regrets: list[float] = []
    stops = []
    ends, also = reference.special().end, candidate.special().also_end
    for prompt in probes.prompts:
        written = candidate.generate(prompt, probes.new_tokens)
        logprobs = _log_softmax(reference.logits([*prompt, *written]))[len(prompt) - 1 : -1]
        regrets += (logprobs.max(-1) - logprobs[np.arange(len(written)), written]).tolist()
        inner = [token for token in written[:-1] if token in ends]
        is_cut = len(written) < probes.new_tokens and written[-1] not in ends | also
        if inner or is_cut:
            stops.append(f"went on after {inner[0]}" if inner else f"stopped after {written[-1]}")
    mean = float(np.mean(regrets))
    return [
        _at_most("greedy/regret_mean", _or_worst(mean), limits.regret_mean),
        _none("greedy/stops", len(stops), next(iter(stops), "")),
    ]


def _task(reference: Subject, candidate: Subject, probes: Probes, limits: Limits) -> list[ParityCheck]:
    """Let both answer the same questions, and compare answer by answer what the reference has decided."""
    decided, changed, right = 0, [], [0, 0]
    for prompt, choices in probes.questions:
        ours, theirs = (_answers(subject, prompt, choices) for subject in (reference, candidate))
        pick, now = int(ours.argmax()), int(theirs.argmax())
        right[0], right[1] = right[0] + (pick == 0), right[1] + (now == 0)
        second, first = np.sort(ours)[-2:]
        if first - second >= _DECIDED:
            decided += 1
            changed += [pick != now]
    share = float(np.mean(changed)) if changed else 0.0
    detail = f"of {decided} decided questions; right {right[1]} of {len(probes.questions)}, was {right[0]}"
    return [_at_most("task/changed", share, limits.task_changed, detail=detail)]


def _answers(subject: Subject, prompt: Sequence[int], choices: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
    """Return the log-likelihood of each choice after a prompt, in nats, [choices]."""
    sums = []
    for choice in choices:
        logprobs = _log_softmax(subject.logits([*prompt, *choice]))[len(prompt) - 1 : -1]
        sums.append(float(logprobs[np.arange(len(choice)), list(choice)].sum()))
    return np.array(sums)


def _log_softmax(logits: Array) -> npt.NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(-1, keepdims=True))
    return wide


def _or_worst(value: float) -> float:
    return value if np.isfinite(value) else float("inf")


def _none(name: str, count: int, detail: str) -> ParityCheck:
    return ParityCheck(name=name, value=count, limit=0, passed=count == 0, detail=detail[:300])


def _first(name: str, differences: Sequence[str]) -> ParityCheck:
    found = [text for text in differences if text]
    return _none(name, len(found), next(iter(found), ""))


def _at_most(name: str, value: float, limit: float, *, detail: str = "") -> ParityCheck:
    return ParityCheck(name=name, value=value, limit=limit, passed=value <= limit, detail=detail)


def _at_least(name: str, value: float, limit: float, *, detail: str = "") -> ParityCheck:
    return ParityCheck(name=name, value=value, limit=limit, passed=value >= limit, detail=detail)
