"""What a mixture job will do, written down before it starts: recipe, targets, and the bounds on every share."""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.api.data.v1.dataset_pb2 import DatasetKind, DatasetVersion
from bessemer.api.data.v1.mixture_pb2 import Mixture
from bessemer.api.train.v1.mixture_job_pb2 import MixtureJob, MixtureTarget
from bessemer.api.train.v1.training_job_pb2 import PretrainMethod, TrainingRecipe
from bessemer.artifacts.mixture import components_of
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest

from train_svc.domain.recipe import resolve

__all__ = ["check_mixture", "check_targets", "natural_shares", "next_size", "resolve_search", "share_bounds"]

# Shape and budget of a small model: about 0.1 million weights beside the vocabulary, ranked like larger ones in most
# pairs of mixtures; it is the cheapest of which that was seen.
_PROXY = PretrainMethod(num_layers=2, hidden_size=64, intermediate_size=192, num_heads=4, num_kv_heads=4)
_PROXY_RATE, _STEPS, _TOKENS_PER_STEP = 3e-3, 120, 512
_PAIRS, _KL_WEIGHT, _SHARE_MIN = 4, 0.05, 0.1
_PROXIES_MIN = 16
# A plan is made of whole rows, so that a share may come out a little larger than it was asked for.
_WHOLE_ROWS = 0.97
_HELDOUT_ROWS = 2  # one for the swarm, another for the pairs


def check_mixture(mixture: Mixture) -> None:
    """Refuse a mixture whose shares cannot be looked for.

    Raises: InvalidRequest.
    """
    if mixture.kind != DatasetKind.DATASET_KIND_TEXT:
        raise InvalidRequest(
            "shares are looked for by held-out loss of text; this mixture holds rows of another kind",
            field="mixture_job.mixture",
        )
    if len(mixture.components) < 2 or len(mixture.phases) > 1:
        raise InvalidRequest("the mixture must hold two or more versions and one phase", field="mixture_job.mixture")


def check_targets(versions: Sequence[DatasetVersion], tokenizer_sha256: str) -> None:
    """Refuse targets without held-out text of the tokenizer.

    Raises: InvalidRequest; FailedPrecondition VERSION_NOT_SEALED, TOKENIZER_MISMATCH or DATASET_EMPTY.
    """
    for version in versions:
        if version.kind != DatasetKind.DATASET_KIND_TEXT:
            raise InvalidRequest(f"{version.name} holds no text", field="mixture_job.targets")
        if not version.manifest.sha256:
            raise FailedPrecondition(
                f"{version.name} is not sealed; wait until its curation job has succeeded",
                reason="VERSION_NOT_SEALED",
                resource=version.name,
            )
        if version.tokenizer_sha256 != tokenizer_sha256:
            raise FailedPrecondition(
                f"{version.name} was made with another tokenizer than that of the base version; curate it again",
                reason="TOKENIZER_MISMATCH",
                resource=version.name,
            )
        if not any(split.split == "heldout" and split.rows >= _HELDOUT_ROWS for split in version.splits):
            raise FailedPrecondition(
                f"{version.name} holds out fewer than {_HELDOUT_ROWS} rows; curate it again with a larger "
                "`heldout_fraction`, or name other targets",
                reason="DATASET_EMPTY",
                resource=version.name,
            )


def resolve_search(job: MixtureJob, mixture: Mixture, *, threads: int) -> MixtureJob:
    """Return a copy with every default written down; `targets` must be named already.

    Raises: InvalidRequest for a recipe that no small model can learn by, or caps that leave too little to read.
    """
    full = MixtureJob()
    full.CopyFrom(job)
    full.recipe.CopyFrom(_proxy_recipe(job.recipe, mixture, threads))
    versions = len(mixture.components)
    if not full.HasField("num_proxies"):
        full.num_proxies = max(3 * versions + 4, _PROXIES_MIN) + versions
    if full.num_proxies < versions + 2:
        raise InvalidRequest(
            f"mixture_job.num_proxies must be at least {versions + 2} for {versions} versions; got {full.num_proxies}",
            field="mixture_job.num_proxies",
        )
    full.num_pairs = job.num_pairs if job.HasField("num_pairs") else _PAIRS
    full.kl_weight = job.kl_weight if job.HasField("kl_weight") else _KL_WEIGHT
    full.share_min = job.share_min if job.HasField("share_min") else _SHARE_MIN
    full.tokens = job.tokens or sum(component.tokens for component in mixture.components)
    weights = [target.weight if target.HasField("weight") else 1.0 for target in job.targets]
    del full.targets[:]
    for target, weight in zip(job.targets, weights, strict=True):
        full.targets.append(MixtureTarget(dataset_version=target.dataset_version, weight=weight / sum(weights)))
    share_bounds(full, mixture, tokens=full.tokens)
    share_bounds(full, mixture, tokens=full.recipe.steps * full.recipe.tokens_per_step)
    return full


def share_bounds(job: MixtureJob, mixture: Mixture, *, tokens: int) -> tuple[list[float], list[float]]:
    """Return least and largest shares in a run of so many tokens, by the floor of the job and the caps of the mixture.

    Raises: InvalidRequest if the caps together allow fewer tokens than that.
    """
    high = [min(1.0, _WHOLE_ROWS * c.rows_max * float(c.tokens_per_row) / tokens) for c in components_of(mixture)]
    if sum(high) < 1:
        most = round(sum(high) * tokens)
        raise InvalidRequest(
            f"the caps of {mixture.name} leave {most:,} tokens, a run of {tokens:,} was asked for; "
            "ask for fewer tokens or steps, or mix in more data",
            field="mixture_job.tokens",
        )
    low = [min(job.share_min * natural, most) for natural, most in zip(natural_shares(mixture), high, strict=True)]
    return low, high


def natural_shares(mixture: Mixture) -> list[float]:
    """Return the shares of a mixture that was created."""
    weights = list(mixture.phases[0].weights)
    return [weight / sum(weights) for weight in weights]


def next_size(recipe: TrainingRecipe) -> TrainingRecipe:
    """Return the recipe for models twice as wide, at half the rate; the same where the base version itself learns."""
    larger = TrainingRecipe()
    larger.CopyFrom(recipe)
    if recipe.HasField("pretrain"):
        larger.pretrain.hidden_size *= 2
        larger.pretrain.intermediate_size *= 2
        larger.learning_rate /= 2
    return larger


def _proxy_recipe(given: TrainingRecipe, mixture: Mixture, threads: int) -> TrainingRecipe:
    method = given.WhichOneof("method") or "pretrain"
    if method not in {"pretrain", "cpt"} or given.num_ranks > 1:
        raise InvalidRequest(
            "mixture_job.recipe must be of the method pretrain or cpt, in one process", field="mixture_job.recipe"
        )
    recipe = TrainingRecipe(
        dtype="fp32", steps=_STEPS, tokens_per_step=_TOKENS_PER_STEP, sequence_length=mixture.sequence_length
    )
    if method == "pretrain":
        recipe.pretrain.CopyFrom(_PROXY)
        recipe.learning_rate = _PROXY_RATE
    else:
        recipe.cpt.SetInParent()
    recipe.MergeFrom(given)
    return resolve(recipe, threads=threads)
