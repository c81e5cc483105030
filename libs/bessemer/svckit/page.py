"""Opaque tokens of lists and watches."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from bessemer.kernel.errors import Expired, InvalidRequest

__all__ = [
    "PAGE_SIZE_DEFAULT",
    "PAGE_SIZE_MAX",
    "open_page_token",
    "open_resume_token",
    "page_rows",
    "page_token",
    "resume_token",
]

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 1000
_MAC_BYTES = 16


def page_rows(page_size: int) -> int:
    """Return how many rows a page holds: 0 asks for the default, and too many for the most there are."""
    if page_size < 0:
        raise InvalidRequest(f"page_size must not be negative; got {page_size}", field="page_size")
    return min(page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def page_token(key: bytes, query: str, position: str) -> str:
    """Return the token that continues `query` after `position`."""
    return base64.urlsafe_b64encode(_mac(key, query, position) + position.encode()).decode().rstrip("=")


def open_page_token(key: bytes, query: str, token: str) -> str:
    """Return the position in a token.

    Raises: InvalidRequest if it was not made for this query by this service.
    """
    try:
        raw = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        position = raw[_MAC_BYTES:].decode()
    except (binascii.Error, UnicodeError, ValueError):
        raw, position = b"", ""
    if not hmac.compare_digest(raw[:_MAC_BYTES], _mac(key, query, position)):
        raise InvalidRequest(
            "page_token is not one that this list returned; start again without it",
            reason="PAGE_TOKEN_INVALID",
            field="page_token",
        )
    return position


def resume_token(store_id: str, sequence: int) -> str:
    """Return the token that continues a watch after `sequence`."""
    return f"{store_id}-{sequence}"


def open_resume_token(store_id: str, token: str) -> int:
    """Return the sequence number in a token.

    Raises: InvalidRequest for what is no token; Expired for one of another database.
    """
    origin, _, digits = token.partition("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise InvalidRequest(
            "resume_token is not one that a watch returned; start again without it", field="resume_token"
        )
    if origin != store_id:
        raise Expired("resume_token belongs to a database that was replaced; start the watch again without it")
    return int(digits)


def _mac(key: bytes, query: str, position: str) -> bytes:
    return hmac.digest(key, f"{query}\0{position}".encode(), hashlib.sha256)[:_MAC_BYTES]
