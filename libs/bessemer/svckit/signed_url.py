"""URLs that carry their own permission: for one object, one method and a while."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from bessemer.kernel.errors import PermissionDenied

__all__ = ["Grant", "sign_url", "verify_signature"]


@dataclass(frozen=True)
class Grant:
    """What the bearer of a signed URL may do."""

    method: str
    key: str
    size_bytes: int | None  # the body must be this long
    sha256: str | None  # the body must have this digest


def sign_url(
    base_url: str, door_key: bytes, method: str, key: str, *, expires: int, size_bytes: int | None, sha256: str | None
) -> str:
    """Return `<base>/objects/<key>?...`; `expires` is in seconds since 1970."""
    query = {"method": method, "expires": str(expires)}
    if size_bytes is not None:
        query["size"] = str(size_bytes)
    if sha256 is not None:
        query["sha256"] = sha256
    query["signature"] = _signature(door_key, key, query)
    return f"{base_url}/objects/{quote(key)}?{urlencode(query)}"


def verify_signature(door_key: bytes, method: str, key: str, query: Mapping[str, str], *, now: float) -> Grant:
    """Return what a request for a signed URL may do; `now` is in seconds since 1970.

    Raises: PermissionDenied if the signature is not ours, or is for another request, or its time is over.
    """
    signed = {name: query[name] for name in ("method", "expires", "size", "sha256") if name in query}
    genuine = hmac.compare_digest(_signature(door_key, key, signed).encode(), query.get("signature", "").encode())
    if not genuine or signed.get("method") != method:
        raise PermissionDenied("the URL's signature does not allow this request; ask for a new URL")
    if now > int(signed["expires"]):
        raise PermissionDenied("the URL has expired; ask for a new one")
    size = signed.get("size")
    return Grant(method, key, int(size) if size is not None else None, signed.get("sha256"))


def _signature(door_key: bytes, key: str, query: Mapping[str, str]) -> str:
    facts = json.dumps([key, sorted(query.items())])  # JSON, so that no value can pass for two
    return hmac.new(door_key, facts.encode(), hashlib.sha256).hexdigest()
