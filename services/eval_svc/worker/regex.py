"""Whether a model's answer matches a regular expression."""

from __future__ import annotations

from eval_svc.domain.results import Mark
from eval_svc.worker.child import TooSlow
from eval_svc.worker.patterns import Patterns

__all__ = ["mark_regex"]


def mark_regex(output: str, pattern: str, patterns: Patterns) -> Mark:
    """Search; a pattern that is wrong or too slow leaves its case unscored."""
    try:
        return Mark(float(patterns.found(pattern, output)))
    except ValueError as error:
        return Mark(None, str(error))
    except TooSlow as slow:
        return Mark(None, f"the pattern {slow}")
