"""What the writer of a message added: without the replies that it quotes and without its signature."""

from __future__ import annotations

import re

__all__ = ["own_text"]

_ATTRIBUTION = re.compile(r"(On|Am|Le|El|Il|Op|Den|Em|\d{4}-\d\d-\d\d)\b(?!.*[.!?]$)")
_WROTE = re.compile(r".*\b(wrote|schrieb|écrit):$")
_FORWARDED = re.compile(r"^-{2,} ?(Original Message|Ursprüngliche Nachricht) ?-{2,}\s*$", re.IGNORECASE)


def own_text(body: str) -> str:
    """Return the body of a message without quoted lines (`>`), the line that introduces them, and the signature.

    Source: RFC 3676, section 4.3 (signatures) and 4.5 (quotations).
    """
    kept: list[str] = []
    in_quote = False
    for line in body.replace("\r\n", "\n").split("\n"):
        if line in {"--", "-- "} or _FORWARDED.match(line.rstrip()):
            break
        if line.startswith(">"):
            if not in_quote:
                _drop_attribution(kept)
            in_quote = True
        else:
            in_quote = in_quote and not line.strip()
            kept.append(line)
    return "\n".join(kept).strip()


def _drop_attribution(kept: list[str]) -> None:
    """Take the line or two off the end that say whom the next lines quote."""
    end = len(kept)
    while end and not kept[end - 1].strip():
        end -= 1
    lines = [line.strip() for line in kept[max(end - 2, 0) : end]]
    if not lines or not lines[-1].endswith(":"):
        return
    if _ATTRIBUTION.match(lines[-1]):
        del kept[end - 1 :]
    elif _ATTRIBUTION.match(lines[0]):
        del kept[end - 2 :]
    elif _WROTE.match(lines[-1]):
        del kept[end - 1 :]
