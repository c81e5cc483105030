"""Sources that mostly cannot be read stop the job: their readable rest would pass for the whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bessemer.kernel.errors import FailedPrecondition

from data_svc.domain.reasons import EXPLANATIONS, PARSE_FAILURES
from data_svc.worker.batches import read_columns

__all__ = ["FILES_MIN", "check_sources"]

FILES_MIN = 200  # of fewer, one broken file would be too many


def check_sources(
    paths: Sequence[Path], sources: Sequence[Sequence[tuple[int, int]]], names: Sequence[str], failures_max: float
) -> None:
    """Check every source of `FILES_MIN` files or more; a file failed if it gave nothing but failures to parse.

    `sources` says, for each partition file, how many files in a row came from which upload; `names` is which source
    each upload belongs to.
    Raises: FailedPrecondition SOURCE_INVALID naming the first source of which more than `failures_max` failed.
    """
    files: Counter[str] = Counter()
    failed: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path, runs in zip(paths, sources, strict=True):
        numbers, counts = zip(*runs, strict=True)
        for number, count in runs:
            files[names[number]] += count
        upload = np.repeat(numbers, counts)
        for file, reason in _failures(path, len(upload)).items():
            failed[names[upload[file]]][reason] += 1
    for name, reasons in failed.items():
        share = reasons.total() / files[name]
        if files[name] >= FILES_MIN and share > failures_max:
            [(reason, count)] = reasons.most_common(1)
            raise FailedPrecondition(
                f"{reasons.total()} of {files[name]} files of {name} ({share:.0%}) cannot be parsed, most often "
                f"{reason} ({count}: {EXPLANATIONS[reason]}); export the source anew, or allow more with "
                "recipe.parse_failures_max",
                reason="SOURCE_INVALID",
                field="curation_job.uploads",
                source=name,
            )


def _failures(path: Path, num_files: int) -> dict[int, str]:
    """Return the files of a partition that failed, and of what first."""
    table = read_columns(path, ("file", "reason"))
    file, reasons = table["file"].to_numpy(), table["reason"].to_numpy()
    bad = np.isin(reasons, PARSE_FAILURES)
    rows, bad_rows = np.bincount(file, minlength=num_files), np.bincount(file[bad], minlength=num_files)
    broken = np.flatnonzero((rows > 0) & (rows == bad_rows))
    first = np.searchsorted(file, broken)
    return dict(zip(broken.tolist(), reasons[first].tolist(), strict=True))
