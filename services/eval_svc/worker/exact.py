"""Whether a model's answer is the target, but for what does not count."""

from __future__ import annotations

import re
import string
import unicodedata

from bessemer.api.eval.v1.evaluation_pb2 import ExactOptions

from eval_svc.domain.results import Mark
from eval_svc.worker.child import TooSlow
from eval_svc.worker.patterns import Patterns

__all__ = ["mark_exact", "normalise"]

# Inside numbers these carry meaning: 3.5 is not 35, -5 is not 5; thousands separators do not.
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_PUNCTUATION = re.compile(r"(?!(?<=\d)[.,:/](?=\d))(?!(?<!\w)[-\u2212](?=\d))[^\w\s]|_")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def mark_exact(output: str, target: str, options: ExactOptions, patterns: Patterns) -> Mark:
    """Extract if asked to, then compare; a pattern that is wrong or too slow leaves its case unscored."""
    try:
        if options.extract:
            extracted = patterns.extracted(options.extract, output, match=options.match)
            if extracted is None:
                return Mark(0.0, "the answer has nothing to extract")
            output = extracted.strip()
        if not options.verbatim:
            return Mark(float(normalise(output) == normalise(target)))
        output, target = (_prepare(patterns.removed(options.ignore, text), options) for text in (output, target))
        return Mark(float(output == target))
    except ValueError as error:
        return Mark(None, str(error))
    except TooSlow as slow:
        return Mark(None, f"the pattern {slow}")


def normalise(text: str) -> str:
    """Return a text without what must not decide: case, width of characters, punctuation, runs of spaces."""
    folded = _THOUSANDS.sub("", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_PUNCTUATION.sub(" ", folded).split())


def _prepare(text: str, options: ExactOptions) -> str:
    if options.ignore_case:
        text = text.lower()
    return text.translate(_WITHOUT_PUNCTUATION) if options.ignore_punctuation else text
