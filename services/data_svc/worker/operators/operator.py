"""What an operator is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

__all__ = ["Operator"]


@dataclass(frozen=True)
class Operator:
    """A function from a batch to columns of as many rows; name, version and parameters stand for what it computes."""

    name: str
    version: int
    annotate: Callable[[pa.RecordBatch], Mapping[str, pa.Array]]
    parameters: tuple[str, ...] = ()
