"""The report."""

from __future__ import annotations

from bessemer.api.data.v1 import assessment_pb2 as pb
from data_svc.worker.assessment_counts import Findings

__all__ = ["page"]


def page(name: str, result: pb.Assessment, findings: Findings, context_length: int) -> str:
    """Return the report."""
    return name
