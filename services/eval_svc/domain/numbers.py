"""Numbers as people and models write them."""

from __future__ import annotations

import re
from decimal import Decimal

__all__ = ["last_number"]

# A sign only where no word or number stands before it: 3-5 holds 3 and 5. The exponent is short, or 1e999999999 would
# be a number that no arithmetic ends with.
_NUMBER = re.compile(
    r"(?:(?<![\w)])[-\u2212])?\$?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,3}(?!\d))?"
)


def last_number(text: str) -> Decimal | None:
    """Return the last number of a text, thousands separators and a dollar sign allowed; None if there is none."""
    found = _NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "").replace("$", "").replace("\u2212", "-")) if found else None
