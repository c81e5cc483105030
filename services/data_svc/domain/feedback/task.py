"""The task of a curation of feedback with its defaults, and the settings it stands for."""

from __future__ import annotations

from datetime import datetime

from bessemer.api.data.v1.dataset_pb2 import DatasetKind
from bessemer.api.data.v1.feedback_curation_pb2 import CurateFeedbackTask, FeedbackForm
from bessemer.kernel.errors import InvalidRequest

from data_svc.domain.feedback.records import Settings
from data_svc.domain.personal_data import WORDS, expand

__all__ = ["KINDS", "resolve", "settings_of"]

KINDS = {
    FeedbackForm.FEEDBACK_FORM_ACCEPTED: DatasetKind.DATASET_KIND_CHAT,
    FeedbackForm.FEEDBACK_FORM_THUMBS: DatasetKind.DATASET_KIND_PREFERENCE,
    FeedbackForm.FEEDBACK_FORM_EDITS: DatasetKind.DATASET_KIND_PREFERENCE,
}
_FIELD = "dataset_job.curate_feedback"
_DEFAULTS = {
    "user_share_max": 0.01,
    "rated_min": 300,
    "down_min": 50,
    "heldout_fraction": 0.1,
    "false_alarms": 0.01,
    "together_s": 600,
    "seed": 0,
}


def resolve(given: CurateFeedbackTask, now: datetime) -> CurateFeedbackTask:
    """Return a copy with every default written down.

    Raises: InvalidRequest.
    """
    task = CurateFeedbackTask()
    task.CopyFrom(given)
    task.form = given.form or FeedbackForm.FEEDBACK_FORM_ACCEPTED
    if not given.model_versions:
        raise InvalidRequest("name the model versions whose answers count", field=f"{_FIELD}.model_versions")
    if not given.HasField("until_time"):
        task.until_time.FromDatetime(now)
    for name, value in _DEFAULTS.items():
        if not given.HasField(name):
            setattr(task, name, value)
    task.consents[:] = sorted(set(given.consents)) or ["training"]
    if "none" in task.consents:
        raise InvalidRequest("`none` allows nothing; name consents that allow it", field=f"{_FIELD}.consents")
    try:
        task.redact[:] = expand(given.redact or ("pii", "secrets"))
    except KeyError as error:
        text = f"{_FIELD}.redact may hold {', '.join(WORDS)}; got {error.args[0]!r}"
        raise InvalidRequest(text, field=f"{_FIELD}.redact") from error
    if task.until_time.ToNanoseconds() <= task.from_time.ToNanoseconds():
        raise InvalidRequest("until_time must be after from_time", field=f"{_FIELD}.until_time")
    return task


def settings_of(task: CurateFeedbackTask) -> Settings:
    """Return the settings that a resolved task stands for."""
    return Settings(
        model_versions=frozenset(task.model_versions),
        until_s=task.until_time.ToNanoseconds() / 1e9,
        form=FeedbackForm.Name(task.form).removeprefix("FEEDBACK_FORM_"),
        from_s=task.from_time.ToNanoseconds() / 1e9,
        consents=frozenset(task.consents),
        user_share_max=task.user_share_max,
        rated_min=task.rated_min,
        down_min=task.down_min,
        heldout_fraction=task.heldout_fraction,
        false_alarms=task.false_alarms,
        together_s=task.together_s,
        seed=task.seed,
    )
