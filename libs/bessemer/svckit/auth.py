"""Who calls: bearer tokens, their keys and where an embedded stack keeps them.

Tokens are JWTs signed with Ed25519 and verified by public keys only, so that no service can make one.
Source: RFC 8725 for the checks, RFC 8037 for EdDSA, RFC 7638 for key ids.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bessemer.kernel.errors import InvalidRequest, Unauthenticated
from bessemer.svckit.config import SERVICES, AuthConfig
from bessemer.svckit.context import Principal

__all__ = ["ANONYMOUS", "Authenticator", "SigningKey", "issue", "load_key", "mint"]

ANONYMOUS = Principal("anonymous")
_LOCAL = Principal("local", frozenset({"admin"}), frozenset({"*"}))
_LEEWAY_S = 30.0
_RELOAD_S = 1.0
_CACHE_MAX = 1_024
_TOKEN_MAX = 4_096
_LIFETIME = timedelta(days=365)
_RENEW = timedelta(days=30)


class Authenticator:
    """Turns the metadata `authorization` into a principal; verified tokens are remembered until they expire.

    `other` is asked first, for credentials that are no tokens; it returns None for what it does not know the form of.
    """

    def __init__(self, config: AuthConfig, *, other: Callable[[str], Principal | None] | None = None) -> None:
        self._config = config
        self._other = other
        self._keys: dict[str, jwt.PyJWK] = {}
        self._stamp = (0, 0)
        self._looked = -_RELOAD_S
        self._known: dict[str, tuple[Principal, float]] = {}
        if config.jwks_file is not None:
            self._reload(config.jwks_file)

    def authenticate(self, authorization: str) -> Principal:
        """Return who holds the token.

        Raises: Unauthenticated saying what is wrong with it.
        """
        scheme, _, token = authorization.partition(" ")
        bearer = scheme.lower() == "bearer"
        if bearer and self._other is not None and (principal := self._other(token)) is not None:
            return principal
        if self._config.jwks_file is None:
            return _LOCAL
        self._reload(self._config.jwks_file)
        if not bearer or not token:
            raise Unauthenticated("no bearer token; send metadata `authorization: Bearer <token>`")
        known = self._known.get(token)
        if known is not None and time.time() < known[1]:
            return known[0]
        claims = self._verify(token)
        principal = Principal(claims["sub"], _words(claims, "roles"), _words(claims, "projects"))
        if len(self._known) >= _CACHE_MAX:
            self._known.clear()
        self._known[token] = (principal, float(claims["exp"]) + _LEEWAY_S)
        return principal

    def _verify(self, token: str) -> dict[str, str]:
        if len(token) > _TOKEN_MAX:
            raise Unauthenticated(f"the token is longer than {_TOKEN_MAX} characters")
        try:
            key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise Unauthenticated("the token was signed by an unknown key; ask for a new one")
            claims: dict[str, str] = jwt.decode(
                token,
                key.key,
                algorithms=["EdDSA"],
                audience=self._config.audience,
                issuer=self._config.issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "nbf", "iat", "aud", "iss", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired; ask for a new one") from None
        except jwt.InvalidTokenError as error:
            raise Unauthenticated(f"the token is not valid: {error}") from None
        return claims

    def _reload(self, path: Path) -> None:
        now = time.monotonic()
        if now - self._looked < _RELOAD_S:
            return
        self._looked = now
        try:
            facts = path.stat()
            if (facts.st_mtime_ns, facts.st_size) == self._stamp:
                return
            keys = {key.key_id: key for key in jwt.PyJWKSet.from_json(path.read_text()).keys if key.key_id}
        except (OSError, ValueError, jwt.PyJWTError) as error:
            if self._keys:
                return  # somebody is replacing the file; the keys we have stay good
            raise InvalidRequest(f"{path} is no set of JSON web keys: {error}", field="BESSEMER_JWKS_FILE") from None
        self._keys, self._stamp = keys, (facts.st_mtime_ns, facts.st_size)
        self._known.clear()


@dataclass(frozen=True)
class SigningKey:
    """A private key and the id under which its public half stands in the key set."""

    private: Ed25519PrivateKey
    key_id: str

    @staticmethod
    def of(private: Ed25519PrivateKey) -> SigningKey:
        """Name a key by its thumbprint."""
        text = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": _public(private)}, separators=(",", ":"))
        return SigningKey(private, _base64url(hashlib.sha256(text.encode()).digest()))

    def jwks(self) -> str:
        """Return the key set that lets others verify what this key signs."""
        key = {"kty": "OKP", "crv": "Ed25519", "x": _public(self.private), "kid": self.key_id}
        return json.dumps({"keys": [key | {"use": "sig", "alg": "EdDSA"}]}, indent=1) + "\n"


def load_key(path: Path) -> SigningKey:
    """Read the private key that `issue` wrote."""
    private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(private, Ed25519PrivateKey):
        raise InvalidRequest(f"{path} holds no Ed25519 key", field="key")
    return SigningKey.of(private)


def mint(
    key: SigningKey, subject: str, *, roles: Collection[str], projects: Collection[str] = ("*",), lifetime: timedelta
) -> str:
    """Return a token for `subject` with these roles in these projects."""
    now = int(time.time())
    claims = {
        "iss": "bessemer",
        "aud": "bessemer",
        "sub": subject,
        "iat": now,
        "nbf": now,
        "exp": now + int(lifetime.total_seconds()),
        "roles": sorted(roles),
        "projects": sorted(projects),
    }
    return jwt.encode(claims, key.private, algorithm="EdDSA", headers={"kid": key.key_id})


_SERVICE_ROLES = {"serve": ["service", "loop"]}


def issue(home: Path) -> Path:
    """Make the keys and tokens of an embedded stack, keep those that are still good, return their folder.

    Only serve_svc runs loops, and only its token may make what their rounds need.
    """
    folder = home / "credentials"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    key_file = folder / "signing.key"
    if not key_file.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(key_file, pem.decode())
    key = load_key(key_file)
    _write(folder / "jwks.json", key.jwks())
    if not (folder / "door.key").exists():
        _write(folder / "door.key", secrets.token_hex(32))
    for name, subject, roles in (
        ("token", "admin", ["admin"]),
        ("worker.token", "worker", ["worker"]),
        *((f"{service}.token", f"service-{service}", _SERVICE_ROLES.get(service, ["service"])) for service in SERVICES),
    ):
        if not _is_fresh(folder / name, key, roles):
            _write(folder / name, mint(key, subject, roles=roles, lifetime=_LIFETIME))
    _write(folder / "README", _README)
    return folder


_README = """Credentials of this embedded stack. Whoever reads these files is the administrator: keep their mode 0600.

signing.key       signs tokens (Ed25519); only needed to make new ones
jwks.json         its public half; services verify tokens with it
token             the administrator's bearer token
worker.token      for worker processes
<service>.token   for a service that calls its peers
door.key          signs URLs of files
artifacts.key     signs exported models (Ed25519); train makes it when it first starts
artifacts.pub     its public half; give it to whoever gets the models

Tokens are good for one year and renewed by `bessemer up` in their last 30 days. To revoke all of them at once, delete
this folder and start the stack again.
"""


def _is_fresh(path: Path, key: SigningKey, roles: list[str]) -> bool:
    try:
        claims = jwt.decode(path.read_text().strip(), key.private.public_key(), ["EdDSA"], audience="bessemer")
    except (OSError, jwt.PyJWTError):
        return False
    return sorted(roles) == claims["roles"] and float(claims["exp"]) - time.time() > _RENEW.total_seconds()


def _write(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    scratch.replace(path)


def _words(claims: dict[str, str], key: str) -> frozenset[str]:
    value: object = claims.get(key, [])
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise Unauthenticated(f"the token's claim {key} must be a list of texts")
    return frozenset(value)


def _public(private: Ed25519PrivateKey) -> str:
    return _base64url(private.public_key().public_bytes_raw())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
