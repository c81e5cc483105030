"""Cells of a run: some cases of a suite, or one dataset version to look through; what is computed and kept as a whole.

A finished cell lies in the object store and is named in the saved state, so no attempt computes it again. How cases
fall into cells depends on the suite alone, and so do batches and numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.api.eval.v1.evaluation_pb2 import EvaluationCell, EvaluationCells
from bessemer.artifacts.blobs import Blobs
from bessemer.jobs.worker import TaskContext

from eval_svc.domain.cases import Case

__all__ = ["Cells", "splits"]

# Few enough that naming them all in every saved state stays small, and long enough that keeping one costs nothing.
_SPLITS_MAX = 32
_CASES_MIN = 64


def splits(cases: Sequence[Case]) -> list[Sequence[Case]]:
    """Cut the cases of a suite into at most 32 parts of at least 64."""
    size = max(_CASES_MIN, -(-len(cases) // _SPLITS_MAX))
    return [cases[at : at + size] for at in range(0, len(cases), size)]


class Cells:
    """What is finished; every new cell is saved at once."""

    def __init__(self, context: TaskContext, blobs: Blobs) -> None:
        self._context, self._blobs = context, blobs
        self._kept = EvaluationCells.FromString(context.saved_state)
        self._by_key = {(cell.suite, cell.split, cell.dataset_version): cell for cell in self._kept.cells}

    def __len__(self) -> int:
        return len(self._kept.cells)

    def get(self, suite: str, split: int = 0, *, dataset_version: str = "") -> tuple[bytes, float] | None:
        """Return what a cell holds and the seconds it took; None if it is not finished."""
        cell = self._by_key.get((suite, split, dataset_version))
        return None if cell is None else (self._blobs.get_bytes(cell.case_results), cell.seconds)

    def keep(
        self, data: bytes, seconds: float, *, stage: str, fraction: float, suite: str = "", split: int = 0,
        dataset_version: str = "",
    ) -> None:  # fmt: skip
        """Store a finished cell and name it in the saved state.

        Raises: LeaseLost if another attempt has the job.
        """
        ref = self._blobs.put_bytes(data, "application/jsonl")
        cell = EvaluationCell(
            suite=suite, split=split, dataset_version=dataset_version, case_results=ref, seconds=seconds
        )
        self._kept.cells.append(cell)
        self._by_key[suite, split, dataset_version] = cell
        self._context.report(stage=stage, fraction=fraction, saved_state=self._kept.SerializeToString())
