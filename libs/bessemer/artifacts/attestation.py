"""Signed statements about files: an in-toto statement in a DSSE envelope, signed with Ed25519, verified offline.

Whoever has the public key can tell that the files are the ones that were stated, byte for byte. Source:
https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, https://in-toto.io/Statement/v1
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bessemer.artifacts.manifest import JSON, canonical_json
from bessemer.kernel.errors import InvalidRequest

__all__ = ["Signer", "Statement", "key_id", "load_public_key", "load_signer", "read_statement"]

_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_ENVELOPE_MAX = 16 << 20


@dataclass(frozen=True)
class Statement:
    """What is stated: names of files with their SHA-256, and, as `predicate`, what is said of them."""

    subjects: Mapping[str, str]
    predicate_type: str
    predicate: Mapping[str, Any]

    def to_json(self) -> bytes:
        """Return the statement as in-toto writes it."""
        subjects: list[JSON] = [{"name": n, "digest": {"sha256": d}} for n, d in sorted(self.subjects.items())]
        return canonical_json(
            {
                "_type": _STATEMENT_TYPE,
                "subject": subjects,
                "predicateType": self.predicate_type,
                "predicate": dict(self.predicate),
            }
        )


class Signer:
    """Signs statements; `public` verifies them."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key()

    def sign(self, statement: Statement) -> bytes:
        """Return the envelope, JSON."""
        payload = statement.to_json()
        signature = self._private.sign(_authenticated(payload))
        envelope: JSON = {
            "payloadType": _PAYLOAD_TYPE,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": key_id(self.public), "sig": base64.b64encode(signature).decode()}],
        }
        return canonical_json(envelope)


def read_statement(envelope: bytes, public: Ed25519PublicKey) -> Statement:
    """Return what was signed with the private half of `public`.

    Raises: InvalidRequest SOURCE_INVALID if the envelope is not one, is signed by another key, or was changed.
    """
    try:
        value = json.loads(envelope) if len(envelope) <= _ENVELOPE_MAX else {}
        payload = base64.b64decode(value["payload"], validate=True)
        signatures = {each["keyid"]: base64.b64decode(each["sig"], validate=True) for each in value["signatures"]}
        kind = value["payloadType"]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise _refused(f"the attestation is not a DSSE envelope: {error}") from None
    wanted = key_id(public)
    if wanted not in signatures:
        raise _refused(f"the attestation is signed by {', '.join(signatures) or 'nobody'}, not by the key {wanted}")
    try:
        public.verify(signatures[wanted], _authenticated(payload))
    except InvalidSignature:
        raise _refused("the attestation was changed after it was signed") from None
    stated = json.loads(payload)
    if kind != _PAYLOAD_TYPE or stated.get("_type") != _STATEMENT_TYPE:
        raise _refused(f"the attestation holds a {kind}, not an in-toto statement")
    subjects = {each["name"]: each["digest"]["sha256"] for each in stated["subject"]}
    return Statement(subjects, stated["predicateType"], stated["predicate"])


def key_id(public: Ed25519PublicKey) -> str:
    """Return the SHA-256 of a public key, by which people compare keys."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key, PEM.

    Raises: InvalidRequest.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path} holds no public key: {error}", field="key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidRequest(f"{path} holds no Ed25519 key", field="key")
    return key


def load_signer(path: Path) -> Signer:
    """Read the private key at `path`, or make one; its public half lies beside it as `.pub`.

    Raises: InvalidRequest if the file is no Ed25519 key.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        made = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _place(path, made)
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidRequest(f"{path} holds no private key: {error}", field="BESSEMER_SIGNING_KEY_FILE") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise InvalidRequest(f"{path} holds no Ed25519 key", field="BESSEMER_SIGNING_KEY_FILE")
    signer = Signer(private)
    with contextlib.suppress(OSError):  # a key that is mounted read-only has its public half elsewhere
        _place(
            path.with_suffix(".pub"),
            signer.public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        )
    return signer


def _place(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; whoever was first stays."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(scratch)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()


def _authenticated(payload: bytes) -> bytes:
    """Return what is signed: type and payload with their lengths, so that neither can pass for the other."""
    kind = _PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, reason="SOURCE_INVALID", field="attestation")
