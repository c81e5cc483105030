"""Recipes with their defaults filled in and their ranges checked."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.api.data.v1.dataset_pb2 import CurationRecipe, DatasetKind, QualityProfile
from bessemer.kernel.errors import InvalidRequest

from data_svc.domain.personal_data import WORDS, expand

__all__ = ["Recipe", "recipe_of"]

_RANGES: dict[str, tuple[float, float]] = {
    "sequence_length": (16, 131_072),
    "heldout_fraction": (0, 0.5),
    "seed": (0, 2**63 - 1),
    "min_characters": (0, 1_000_000),
    "near_duplicate_threshold": (0.5, 1),
    "rows_max": (1, 10_000_000),
    "tokens_max": (0, 2**63 - 1),
    "parse_failures_max": (0, 1),
    "classifier_threshold": (0, 1),
    "sample_fraction": (0.0001, 1),
    "semantic_duplicate_threshold": (0, 1),
}


@dataclass(frozen=True)
class Recipe:
    """How documents become a version; the defaults are the product's."""

    kind: str = "TEXT"
    sequence_length: int = 512
    heldout_fraction: float = 0.1
    seed: int = 0
    min_characters: int = 200
    near_duplicate_threshold: float = 0.7
    rows_max: int = 2000
    tokens_max: int = 0
    quality: str = "ENTERPRISE"
    parse_failures_max: float = 0.05
    redact: tuple[str, ...] = ()  # kinds of personal data and secrets, sorted
    classifier_threshold: float = 0.0
    sample_fraction: float = 1.0
    semantic_duplicate_threshold: float = 0.0


def recipe_of(message: CurationRecipe, field: str = "curation_job.recipe") -> Recipe:
    """Return the recipe a message describes.

    Raises: InvalidRequest naming the first field outside its range, or the first unknown kind to redact.
    """
    if message.kind == DatasetKind.DATASET_KIND_UNSPECIFIED or message.kind not in DatasetKind.values():
        raise InvalidRequest(f"{field}.kind must be text, chat or preference; it is not stated", field=f"{field}.kind")
    given = {name: getattr(message, name) for name in _RANGES if message.HasField(name)}
    for name, value in given.items():
        low, high = _RANGES[name]
        if not low <= value <= high:
            raise InvalidRequest(f"{field}.{name} must be {low:g} to {high:g}; got {value!r}", field=f"{field}.{name}")
    try:
        redact = expand(message.redact)
    except KeyError as error:
        message_text = f"{field}.redact may hold {', '.join(WORDS)}; got {error.args[0]!r}"
        raise InvalidRequest(message_text, field=f"{field}.redact") from error
    if message.quality not in QualityProfile.values():
        raise InvalidRequest(f"{field}.quality must be enterprise or web", field=f"{field}.quality")
    profile = message.quality or QualityProfile.QUALITY_PROFILE_ENTERPRISE
    return Recipe(
        kind=DatasetKind.Name(message.kind).removeprefix("DATASET_KIND_"),
        quality=QualityProfile.Name(profile).removeprefix("QUALITY_PROFILE_"),
        redact=redact,
        **given,
    )
