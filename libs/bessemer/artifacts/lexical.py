"""What a monitor may know of a text: which of 1,920 buckets its words fall into; neither words nor order.

Callers make sketches where the text is, so that no text has to leave. Many words share a bucket; a caller that has
the texts can find the words behind a bucket, somebody with the sketches alone cannot say which of them it was.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["BUCKETS", "SKETCH_MAX", "bucket_of", "sketch", "telling_terms", "terms_of"]

BUCKETS = 1920
SKETCH_MAX = 256  # distinct buckets of a text; its first words say what it is about

_WORD = re.compile(r"[^\W\d_]{2,24}|\d")


def bucket_of(word: str) -> int:
    """Return the bucket of a word, the same on every machine."""
    return zlib.crc32(word.lower().encode()) % BUCKETS


def sketch(text: str) -> list[int]:
    """Return the distinct buckets of a text's words in ascending order; digits count as words of one digit."""
    seen: dict[int, None] = {}
    for match in _WORD.finditer(text):
        seen[bucket_of(match.group())] = None
        if len(seen) == SKETCH_MAX:
            break
    return sorted(seen)


def terms_of(texts: Iterable[str], buckets: Iterable[int]) -> list[str]:
    """Return for each bucket the word of the texts that is most often behind it, if there is one."""
    wanted = dict.fromkeys(buckets)
    counts: dict[int, Counter[str]] = {bucket: Counter() for bucket in wanted}
    for text in texts:
        for word in {match.group().lower() for match in _WORD.finditer(text)}:
            if (bucket := bucket_of(word)) in counts:
                counts[bucket][word] += 1
    return [counts[bucket].most_common(1)[0][0] for bucket in wanted if counts[bucket]]


def telling_terms(texts: Sequence[str], others: Sequence[str], number: int) -> list[str]:
    """Return the words that set texts apart from others, the most telling first; each is in two texts or more.

    Source: ranked by share x log of the ratio of shares, the term of a word in the Kullback-Leibler divergence.
    """
    here, there = _document_counts(texts), _document_counts(others)
    scores = {
        word: count * math.log((count / len(texts)) / ((there[word] + 0.5) / (len(others) + 1)))
        for word, count in here.items()
        if count > 1 and len(word) > 2
    }
    return sorted((word for word in scores if scores[word] > 0), key=lambda word: (-scores[word], word))[:number]


def _document_counts(texts: Iterable[str]) -> Counter[str]:
    return Counter(word for text in texts for word in {match.group().lower() for match in _WORD.finditer(text)})
