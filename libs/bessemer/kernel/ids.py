"""Ids and resource names.

A resource name is a path of collections and ids, `projects/p/datasets/d/versions/v`; ids are safe as they stand
in NATS subjects and object keys.
Source: AIP-122, AIP-133; RFC 9562 section 5.7 for UUIDv7.
"""

from __future__ import annotations

import re
import secrets
import time
import uuid

from bessemer.kernel.errors import InvalidRequest

__all__ = [
    "check_id",
    "check_name",
    "collection_of",
    "event_id",
    "id_of",
    "new_id",
    "new_uid",
    "parent_of",
    "project_of",
]

_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_NAMESPACE = uuid.UUID("6ba1d5e4-52a3-5d0b-9a7e-b0c8f5b3c3f1")


def check_id(value: str, field: str) -> str:
    """Return `value` if it is a valid id.

    Raises: InvalidRequest naming `field` otherwise.
    """
    if not _ID.fullmatch(value):
        raise InvalidRequest(
            f"{field} must be 1 to 63 characters of a-z, 0-9 and '-', start with a letter "
            f"and not end with '-'; got {value[:80]!r}",
            field=field,
        )
    return value


def check_name(name: str, pattern: str, field: str = "name") -> str:
    """Return `name` if it fits a pattern such as `projects/*/datasets/*`.

    Raises: InvalidRequest naming `field` otherwise.
    """
    parts, wanted = name.split("/"), pattern.split("/")
    if len(parts) != len(wanted) or any(w not in ("*", p) for p, w in zip(parts, wanted, strict=True)):
        raise InvalidRequest(f"{field} must look like {pattern}; got {name[:200]!r}", field=field)
    for part, want in zip(parts, wanted, strict=True):
        if want == "*":
            check_id(part, field)
    return name


def parent_of(name: str) -> str:
    """Return the name without its last collection and id; empty for a top-level resource."""
    return "/".join(name.split("/")[:-2])


def collection_of(name: str) -> str:
    """Return the last collection of a name, such as `versions`."""
    return name.split("/")[-2]


def id_of(name: str) -> str:
    """Return the last id of a name."""
    return name.rsplit("/", 1)[-1]


def project_of(name: str) -> str:
    """Return the id of the project a name lies in.

    Raises: InvalidRequest if it lies in none.
    """
    parts = name.split("/")
    if len(parts) < 2 or parts[0] != "projects" or not parts[1]:
        raise InvalidRequest(f"a name must start with projects/<project>; got {name[:200]!r}", field="name")
    return parts[1]


def new_uid() -> str:
    """Return a UUIDv7: unique, and sorting by time of creation."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & ((1 << 48) - 1)) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return str(uuid.UUID(int=value))


def new_id(prefix: str) -> str:
    """Return a fresh id that starts with `prefix` and sorts by time of creation."""
    return f"{prefix}-{uuid.UUID(new_uid()).hex[:12]}{secrets.token_hex(4)}"


def event_id(uid: str, revision: int) -> str:
    """Return the id of the event that made `revision` of the resource `uid`; the same every time."""
    return str(uuid.uuid5(_NAMESPACE, f"{uid}:{revision}"))
