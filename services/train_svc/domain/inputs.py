"""Whether a model, a recipe and its data go together."""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.api.data.v1.dataset_pb2 import DatasetKind, DatasetVersion
from bessemer.api.data.v1.mixture_pb2 import Mixture
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.api.train.v1.training_job_pb2 import TrainingInputs, TrainingJob, TrainingRecipe
from bessemer.artifacts.mixture import components_of, phases_of, plan, rows_for, short_of
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest

from train_svc.domain.recipe import ROLLOUT_METHODS

__all__ = ["check_fit", "check_mixture", "check_names", "check_tokenizer", "pin", "sequence_length"]

KINDS = {
    "cpt": DatasetKind.DATASET_KIND_TEXT,
    "sft": DatasetKind.DATASET_KIND_CHAT,
    "dpo": DatasetKind.DATASET_KIND_PREFERENCE,
    "pretrain": DatasetKind.DATASET_KIND_TEXT,
    "kto": DatasetKind.DATASET_KIND_PREFERENCE,
    "orpo": DatasetKind.DATASET_KIND_PREFERENCE,
    "reward_model": DatasetKind.DATASET_KIND_PREFERENCE,
    "grpo": DatasetKind.DATASET_KIND_CHAT,
    "distill": DatasetKind.DATASET_KIND_CHAT,
    "online_dpo": DatasetKind.DATASET_KIND_CHAT,
}
SEQUENCE_LENGTH = 512


def check_names(job: TrainingJob) -> None:
    """Refuse a job that names no data, a version twice, or versions and a mixture; an environment stands for data.

    Raises: InvalidRequest.
    """
    field = "training_job.dataset_versions"
    method = str(job.recipe.WhichOneof("method"))
    if method in ROLLOUT_METHODS and getattr(job.recipe, method).environment:
        if job.dataset_versions or job.mixture:
            raise InvalidRequest("the environment makes the prompts; name no data beside it", field=field)
        return
    if method in ROLLOUT_METHODS and job.mixture:
        raise InvalidRequest(f"{method} reads dataset_versions, not a mixture", field="training_job.mixture")
    if bool(job.dataset_versions) == bool(job.mixture):
        raise InvalidRequest("training_job must name either dataset_versions or a mixture", field=field)
    if len(set(job.dataset_versions)) != len(job.dataset_versions):
        raise InvalidRequest(f"{field} names a version twice", field=field)


def check_fit(
    recipe: TrainingRecipe, base: ModelVersion, versions: Sequence[DatasetVersion], *, is_mixed: bool
) -> None:
    """Refuse data of another kind, of another tokenizer, unsealed, or empty.

    Raises: InvalidRequest for a wrong kind, FailedPrecondition VERSION_NOT_SEALED, DATASET_EMPTY or TOKENIZER_MISMATCH.
    """
    method = str(recipe.WhichOneof("method"))
    for index, version in enumerate(versions):
        field = "training_job.mixture" if is_mixed else f"training_job.dataset_versions[{index}]"
        if version.kind != KINDS[method]:
            wanted, found = (
                DatasetKind.Name(kind).removeprefix("DATASET_KIND_") for kind in (KINDS[method], version.kind)
            )
            raise InvalidRequest(f"{method} learns from {wanted} data; {version.name} holds {found}", field=field)
        if not version.manifest.sha256:
            raise FailedPrecondition(
                f"{version.name} is not sealed; wait until its curation job has succeeded",
                reason="VERSION_NOT_SEALED",
                resource=version.name,
            )
        if not any(split.split == "train" and split.rows for split in version.splits):
            raise FailedPrecondition(
                f"{version.name} has no rows in its split `train`; curate more documents or hold fewer out",
                reason="DATASET_EMPTY",
                resource=version.name,
            )
        if version.tokenizer_sha256 and version.tokenizer_sha256 != base.tokenizer.sha256:
            raise FailedPrecondition(
                f"{version.name} was made with tokenizer {version.tokenizer_sha256[:12]}, {base.name} has "
                f"{base.tokenizer.sha256[:12]}; curate the data again with the model's tokenizer",
                reason="TOKENIZER_MISMATCH",
                resource=version.name,
            )


def sequence_length(recipe: TrainingRecipe, base: ModelVersion, versions: Sequence[DatasetVersion]) -> int:
    """Return the longest row in tokens: as asked, else that of packed data, else 512, never above the context.

    Raises: InvalidRequest if what was asked or what the data hold does not fit.
    """
    packed = max((version.sequence_length for version in versions), default=0)
    asked = recipe.sequence_length if recipe.HasField("sequence_length") else 0
    length = asked or packed or min(SEQUENCE_LENGTH, base.context_length)
    if length > base.context_length:
        raise InvalidRequest(
            f"rows of {length} tokens exceed the context of {base.name}, {base.context_length}; use shorter rows",
            field="training_job.recipe.sequence_length",
        )
    if length < packed:
        raise InvalidRequest(
            f"training_job.recipe.sequence_length must be at least {packed}, the packed rows of the data; got {length}",
            field="training_job.recipe.sequence_length",
        )
    return length


def check_mixture(recipe: TrainingRecipe, mixture: Mixture) -> None:
    """Refuse a run that reads more than the caps of the mixture allow.

    What is tokenized at training time is counted only by the worker, which looks again.
    Raises: InvalidRequest.
    """
    if recipe.HasField("steps") and mixture.kind == DatasetKind.DATASET_KIND_TEXT:
        components, phases = components_of(mixture), phases_of(mixture)
        made = plan(components, phases, recipe.steps * rows_for(components, phases, recipe.tokens_per_step))
        if made.rows_short:
            raise short_of(made, components, "training_job.recipe.steps")


def check_tokenizer(base: ModelVersion, other: ModelVersion) -> None:
    """Refuse a teacher or a reward model that cuts text into other tokens.

    Raises: FailedPrecondition TOKENIZER_MISMATCH.
    """
    if other.tokenizer.sha256 != base.tokenizer.sha256:
        raise FailedPrecondition(
            f"{other.name} has tokenizer {other.tokenizer.sha256[:12]}, {base.name} has "
            f"{base.tokenizer.sha256[:12]}; the two read the same tokens",
            reason="TOKENIZER_MISMATCH",
            resource=other.name,
        )


def pin(
    base: ModelVersion,
    versions: Sequence[DatasetVersion],
    mixture: Mixture | None,
    teacher: ModelVersion | None = None,
    reward_models: Sequence[ModelVersion] = (),
) -> TrainingInputs:
    """Return what the worker will read, by digest."""
    manifests = [part.manifest for part in mixture.components] if mixture else [v.manifest for v in versions]
    content = mixture.content if mixture else None
    taught_by = teacher.manifest if teacher else None
    return TrainingInputs(
        model_manifest=base.manifest,
        dataset_manifests=manifests,
        mixture=content,
        teacher_manifest=taught_by,
        reward_manifests=[version.manifest for version in reward_models],
    )
