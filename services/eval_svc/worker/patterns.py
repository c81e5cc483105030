"""Regular expressions of users over texts of models, in a process that can be killed."""

from __future__ import annotations

from collections.abc import Sequence

from eval_svc.worker.child import Child

__all__ = ["Patterns"]

_PROGRAM = """
import json, re, sys

def answer(question):
    if question is None:
        return None
    if question[0] == "found":
        return bool(re.search(question[1], question[2]))
    if question[0] == "removed":
        text = question[2]
        for pattern in question[1]:
            text = re.sub(pattern, "", text)
        return text
    matches = [m.group(1 if m.re.groups else 0) or "" for m in re.finditer(question[1], question[2])]
    at = question[3]
    return matches[at] if -len(matches) <= at < len(matches) else None

for line in sys.stdin:
    try:
        found = {"is": answer(json.loads(line))}
    except Exception as error:
        found = {"wrong": f"the pattern is not valid: {type(error).__name__} at {getattr(error, 'pos', 0)}"}
    print(json.dumps(found), flush=True)
"""


class Patterns:
    """Searches, removes and extracts.

    Every method raises: ValueError for a pattern that is not valid; TooSlow.
    """

    def __init__(self, child: Child | None = None) -> None:
        self._child = child or Child(_PROGRAM)

    def found(self, pattern: str, text: str) -> bool:
        """Say whether a pattern matches somewhere."""
        return bool(self._ask("found", pattern, text))

    def removed(self, patterns: Sequence[str], text: str) -> str:
        """Return the text without what the patterns match, one after the other."""
        return str(self._ask("removed", list(patterns), text)) if patterns else text

    def extracted(self, pattern: str, text: str, *, match: int) -> str | None:
        """Return the first group of a match, or all of it; None if there are too few matches."""
        value = self._ask("extracted", pattern, text, match)
        return None if value is None else str(value)

    def close(self) -> None:
        """Stop the process."""
        self._child.close()

    def _ask(self, *question: object) -> object:
        answer = self._child.ask(question)
        if "wrong" in answer:
            raise ValueError(answer["wrong"])
        return answer["is"]
