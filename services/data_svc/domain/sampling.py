"""Which files and records a sample holds: a function of content and seed, so that all copies of one are in or out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from data_svc.domain.formats import Format
from data_svc.domain.recipes import Recipe
from data_svc.domain.splitting import share, shares

__all__ = ["RECORD_FORMATS", "drawn_records", "draws_file"]

RECORD_FORMATS = {Format.CSV, Format.TSV, Format.PARQUET, Format.JSON, Format.JSONL, Format.MBOX}


def draws_file(recipe: Recipe, form: Format, sha256: str) -> bool:
    """Say whether a file is looked at; one of many records always is, and its records are drawn."""
    whole = recipe.sample_fraction >= 1 or form in RECORD_FORMATS
    return whole or share(recipe.seed, "sample", sha256) < recipe.sample_fraction


def drawn_records(recipe: Recipe, keys: Sequence[str], of_records: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which rows are looked at: those of files that were drawn as a whole, and drawn records by their keys."""
    if recipe.sample_fraction >= 1:
        return np.ones(len(keys), np.bool_)
    return ~of_records | (shares(recipe.seed, "sample", keys) < recipe.sample_fraction)
