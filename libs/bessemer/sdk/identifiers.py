"""Identifiers of a person on their way to an erasure: PUT beside every record, never stored under a digest."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from typing import Any, Protocol

import httpx

from bessemer.sdk.files import raise_for_transfer

__all__ = ["DataClient", "put_identifiers"]


class DataClient(Protocol):
    """The part of a client that is needed here."""

    data: Any


def put_identifiers(client: DataClient, project: str, identifiers: Sequence[str]) -> Any:
    """Return an `Upload` that is never completed, for `EraseSubjectTask.identifiers`.

    The file carries a random salt, so that its SHA-256 in the receipt tells nothing of what it held.
    """
    value = {"identifiers": list(identifiers), "salt": secrets.token_hex(32)}
    content = json.dumps(value, ensure_ascii=False).encode()
    digest = hashlib.sha256(content).hexdigest()
    upload = client.data.create_upload(
        parent=project, file_name="identifiers.json", sha256=digest, size_bytes=len(content)
    )
    raise_for_transfer(
        httpx.put(upload.url, content=content, headers=dict(upload.headers), timeout=60, trust_env=False)
    )
    return upload
