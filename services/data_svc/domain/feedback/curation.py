"""Curation of feedback: records and settings in, rows out, every other record with its reason; a pure function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bessemer.kernel.errors import FailedPrecondition

from data_svc.domain.feedback.operators import OPERATORS
from data_svc.domain.feedback.records import UP, Said, Settings
from data_svc.domain.reasons import Reason

__all__ = ["Curated", "curate", "enough", "row_of"]

SCRUB = "scrub"


@dataclass(frozen=True)
class Curated:
    """The kept records, each with its split; the others with reason and detail; operators as `name@version`."""

    kept: Sequence[Said]
    dropped: Sequence[tuple[Said, Reason, str]]
    operators: Sequence[str]
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def num_users(self) -> int:
        """People whose records were kept."""
        return len({one.user for one in self.kept})


def curate(said: Iterable[Said], settings: Settings, scrub: Callable[[str], str], *, scrub_version: int = 1) -> Curated:
    """Return what can be learned from; the same records and settings give the same result, in whatever order.

    `scrub` takes personal data and secrets out of a text. It is applied to every text of a record whose author allows
    it to be used, before any of it is compared or kept.
    """
    kept: Sequence[Said] = sorted(said, key=lambda one: one.name)
    dropped: list[tuple[Said, Reason, str]] = []
    names: list[str] = []
    found: dict[str, Any] = {"groups": []}
    for operator in OPERATORS:
        outcome = operator.apply(kept, settings)
        kept = outcome.kept
        dropped += outcome.dropped
        names.append(f"{operator.name}@{operator.version}")
        found["groups"] += outcome.found.get("groups", [])
        found.update({name: value for name, value in outcome.found.items() if name != "groups"})
        if operator.name == "consent":
            kept = [_scrubbed(one, scrub) for one in kept]
            names.append(f"{SCRUB}@{scrub_version}")
    return Curated(kept, dropped, names, found)


def enough(curated: Curated, settings: Settings) -> FailedPrecondition | None:
    """Return the error of too little feedback; None if there is enough: ratings, or ratings down; of edits, edits."""
    if settings.form == "EDITS":
        have, need, what = len(curated.kept), settings.down_min, "edits"
        short = have < need
    else:
        ratings = curated.found["ratings"]
        rated = sum(each["num_rated"] for each in ratings)
        downs = rated - sum(each["num_up"] for each in ratings)
        have, need, what = rated, settings.rated_min, "ratings that count"
        short = have < need and downs < settings.down_min
    if not short and curated.kept:
        return None
    missing = max(1, need - have)
    top = ", ".join(f"{count} {reason}" for reason, count in _commonest(curated.dropped))
    return FailedPrecondition(
        f"{have} {what} are too few, {need} are needed ({top or 'nothing was left out'}); collect more, or lower "
        "rated_min or down_min",
        reason="DATASET_EMPTY",
        field="dataset_job.curate_feedback",
        missing=str(missing),
    )


def row_of(one: Said, form: str) -> dict[str, Any]:
    """Return the row that is made of a kept record: what training reads, and where it came from.

    Log-probabilities under the policy that answered are nats per token of `completion`; left out if not known.
    """
    prompt = [dict(message) for message in one.messages]
    origin = {"source": one.name, "model_version": one.model_version, "form": "feedback", "weight": one.weight}
    if one.categories:
        origin["categories"] = sorted(one.categories)
    if form == "ACCEPTED":
        said = one.edited.strip() or one.answer
        return {"messages": [*prompt, {"role": "assistant", "content": said}], **origin}
    if form == "EDITS":
        return {"prompt": prompt, "chosen": one.edited.strip(), "rejected": one.answer, **origin}
    row = {"prompt": prompt, "completion": one.answer, "label": one.rating == UP, **origin}
    return row | ({"behaviour_logprobs": list(one.logprobs)} if one.logprobs else {})


def _scrubbed(one: Said, scrub: Callable[[str], str]) -> Said:
    messages = [{**message, "content": scrub(message["content"])} for message in one.messages]
    return replace(one, messages=messages, answer=scrub(one.answer), edited=scrub(one.edited))


def _commonest(dropped: Sequence[tuple[Said, Reason, str]]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for _, reason, _ in dropped:
        counts[reason] = counts.get(reason, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]
