"""Whether the last number of a model's answer is the target's."""

from __future__ import annotations

from bessemer.api.eval.v1.evaluation_pb2 import NumericOptions

from eval_svc.domain.numbers import last_number
from eval_svc.domain.results import Mark

__all__ = ["mark_numeric"]


def mark_numeric(output: str, target: str, options: NumericOptions) -> Mark:
    """Compare the last numbers; the target has one, an answer without one is wrong.

    Source: the last number as in Cobbe et al. 2021, Training verifiers to solve math word problems.
    """
    wanted, found = last_number(target), last_number(output)
    if wanted is None:
        return Mark(None, "the target has no number")
    if found is None:
        return Mark(0.0, "the answer has no number")
    difference = float(abs(found - wanted))
    allowed = max(options.absolute_tolerance, options.relative_tolerance * float(abs(wanted)))
    return Mark(float(found == wanted or difference <= allowed))
