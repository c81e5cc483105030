"""The language of a document, from a sample of its text."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import eldc

__all__ = ["detect"]

_SAMPLE_BYTES = 400  # from the beginning, the middle and the end


def detect(text: bytes) -> str:
    """Return the ISO 639-1 code of UTF-8 text, `und` if there are no words in it.

    Characters that the cuts of the sample break are left out.
    """
    if len(text) > 3 * _SAMPLE_BYTES:
        middle = len(text) // 2
        text = b" ".join((text[:_SAMPLE_BYTES], text[middle : middle + _SAMPLE_BYTES], text[-_SAMPLE_BYTES:]))
    return _engine()(text.decode(errors="ignore"))


@cache
def _engine() -> Callable[[str], str]:
    eldc.init()
    found: Callable[[str], str] = eldc.detect
    return found
