"""Settings of a service process; the only reader of its environment."""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bessemer.kernel.errors import InvalidRequest
from bessemer.svckit.objects import ObjectsConfig

__all__ = ["SERVICES", "AuthConfig", "InferenceServer", "ServiceConfig", "TlsConfig", "load"]

SERVICES = ("data", "train", "eval", "serve")
_PREFIX = "BESSEMER_"
_SERVERS_FILE = "inference-servers.json"  # in the home, unless a variable names another one
_NAMES = frozenset({
    "AUDIENCE", "DATABASE_URL", "DOOR_KEY_FILE", "DOOR_URL", "DRAIN_WAIT_S", "GRACE_S", "HOME", "HTTP_LISTEN",
    "INFERENCE_SERVERS_FILE", "ISSUER",
    "JWKS_FILE", "LISTEN", "NATS_URL", "OBJECTS_URL", "OTLP_ENDPOINT", "PEER_DATA", "PEER_EVAL", "PEER_SERVE",
    "PEER_TRAIN", "PRICE_COMPLETION_1K", "PRICE_PROMPT_1K", "S3_ACCESS_KEY", "S3_SECRET_KEY", "SIGNING_KEY_FILE",
    "THREADS", "TLS_CA", "TLS_CERT", "TLS_KEY", "TOKEN_FILE", "WORKER_ADDRESS", "WORKER_TASK",
})  # fmt: skip


@dataclass(frozen=True)
class AuthConfig:
    """Whom to believe: tokens signed by a key of `jwks_file`; without one everybody is the administrator."""

    jwks_file: Path | None = None
    token_file: Path | None = None  # own identity for calls to peers
    issuer: str = "bessemer"
    audience: str = "bessemer"


@dataclass(frozen=True)
class TlsConfig:
    """Own certificate; with `ca_file` peers must show one of that authority too."""

    cert_file: Path
    key_file: Path
    ca_file: Path | None = None


@dataclass(frozen=True)
class InferenceServer:
    """A server with OpenAI's API that deployments may name; `url` ends before `/models`."""

    url: str
    api_key: str = field(default="", repr=False)
    ca_file: Path | None = None  # authority of its certificate, besides those everybody trusts


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """Everything a service needs to know before it starts; addresses are `host:port`, empty URLs mean none."""

    name: str
    home: Path
    listen: str = "127.0.0.1:0"
    http_listen: str | None = None
    database_url: str = ""
    nats_url: str = ""
    objects_url: str = ""
    s3_access_key: str = field(default="", repr=False)
    s3_secret_key: str = field(default="", repr=False)
    door_url: str = ""
    door_key_file: Path | None = None
    peers: Mapping[str, str] = field(default_factory=dict)
    auth: AuthConfig = field(default_factory=AuthConfig)
    tls: TlsConfig | None = None
    otlp_endpoint: str | None = None
    threads: int = 2
    inference_servers: Mapping[str, InferenceServer] = field(default_factory=dict)
    price_prompt_1k: float = 0.0  # of 1,000 tokens, for the cost that serving reports
    price_completion_1k: float = 0.0
    own_signing_key_file: Path | None = None
    drain_wait_s: float = 0.0  # for load balancers to notice
    grace_s: float = 25.0  # for calls in flight to end

    @property
    def signing_key_file(self) -> Path:
        """Where the key lies that signs what leaves the suite; made when it is missing."""
        return self.own_signing_key_file or self.home / "credentials" / "artifacts.key"

    @property
    def objects(self) -> ObjectsConfig:
        """What `open_objects` needs."""
        return ObjectsConfig(
            url=self.objects_url,
            access_key=self.s3_access_key,
            secret_key=self.s3_secret_key,
            door_url=self.door_url,
            door_key=self.door_key_file.read_bytes().strip() if self.door_key_file else None,
        )


def load(name: str, environ: Mapping[str, str] | None = None) -> ServiceConfig:
    """Return the settings of service `name` from the process's environment, or from the one given.

    Raises: InvalidRequest for an unknown variable, a bad value, or an open listener without TLS and tokens.
    """
    given = os.environ if environ is None else environ
    values = {key.removeprefix(_PREFIX): value for key, value in given.items() if key.startswith(_PREFIX)}
    _refuse_unknown(values)
    home = Path(values.get("HOME") or ".bessemer").resolve()
    config = ServiceConfig(
        name=name,
        home=home,
        listen=_address(values, "LISTEN") or "127.0.0.1:0",
        http_listen=_address(values, "HTTP_LISTEN"),
        database_url=values.get("DATABASE_URL") or f"sqlite:///{home / name / 'service.db'}",
        nats_url=values.get("NATS_URL", ""),
        objects_url=values.get("OBJECTS_URL") or f"file://{home / 'objects'}",
        s3_access_key=values.get("S3_ACCESS_KEY", ""),
        s3_secret_key=values.get("S3_SECRET_KEY", ""),
        door_url=values.get("DOOR_URL", ""),
        door_key_file=_file(values, "DOOR_KEY_FILE"),
        peers={peer: address for peer in SERVICES if (address := values.get(f"PEER_{peer.upper()}"))},
        auth=AuthConfig(
            jwks_file=_file(values, "JWKS_FILE"),
            token_file=_file(values, "TOKEN_FILE"),
            issuer=values.get("ISSUER") or "bessemer",
            audience=values.get("AUDIENCE") or "bessemer",
        ),
        tls=_tls(values),
        otlp_endpoint=values.get("OTLP_ENDPOINT") or None,
        own_signing_key_file=Path(values["SIGNING_KEY_FILE"]) if values.get("SIGNING_KEY_FILE") else None,
        threads=int(_number(values, "THREADS", os.cpu_count() or 1, least=1)),
        inference_servers=_inference_servers(name, _file(values, "INFERENCE_SERVERS_FILE") or home / _SERVERS_FILE),
        price_prompt_1k=_number(values, "PRICE_PROMPT_1K", 0.0),
        price_completion_1k=_number(values, "PRICE_COMPLETION_1K", 0.0),
        drain_wait_s=_number(values, "DRAIN_WAIT_S", 0.0),
        grace_s=_number(values, "GRACE_S", 25.0),
    )
    _refuse_open_door(config)
    return config


def _refuse_unknown(values: Mapping[str, str]) -> None:
    for key in sorted(values):
        if key not in _NAMES:
            near = difflib.get_close_matches(key, _NAMES, n=1, cutoff=0.0)[0]
            raise InvalidRequest(
                f"unknown variable {_PREFIX}{key}; did you mean {_PREFIX}{near}?", field=f"{_PREFIX}{key}"
            )


def _refuse_open_door(config: ServiceConfig) -> None:
    for variable, address in (("LISTEN", config.listen), ("HTTP_LISTEN", config.http_listen)):
        if address is None or _is_loopback(address):
            continue
        if config.tls is None or config.auth.jwks_file is None:
            raise InvalidRequest(
                f"{_PREFIX}{variable}={address} can be reached from outside; set {_PREFIX}TLS_CERT, {_PREFIX}TLS_KEY "
                f"and {_PREFIX}JWKS_FILE, or listen on 127.0.0.1",
                field=f"{_PREFIX}{variable}",
            )


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(values: Mapping[str, str], key: str) -> str | None:
    value = values.get(key)
    if not value:
        return None
    host, _, port = value.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise InvalidRequest(f"{_PREFIX}{key} must be host:port; got {value!r}", field=f"{_PREFIX}{key}")
    return value


def _file(values: Mapping[str, str], key: str) -> Path | None:
    value = values.get(key)
    if not value:
        return None
    path = Path(value)
    if not path.is_file():
        raise InvalidRequest(f"{_PREFIX}{key} must name a file; there is none at {value!r}", field=f"{_PREFIX}{key}")
    return path


def _inference_servers(service: str, path: Path) -> Mapping[str, InferenceServer]:
    """Read servers by name, such as `{"gpu": {"url": "http://host:8000/v1", "api_key_file": "/run/secrets/gpu"}}`."""
    if service != "serve" or not path.is_file():
        return {}
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        return {name: _inference_server(**settings) for name, settings in given.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        field = f"{_PREFIX}INFERENCE_SERVERS_FILE"
        text = f"{field}: {path} must hold servers by name, each with url and perhaps api_key_file and ca_file: {error}"
        raise InvalidRequest(text, field=field) from None


def _inference_server(*, url: str, api_key_file: str = "", ca_file: str = "") -> InferenceServer:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url must begin with http:// or https://; got {url!r}")
    key = Path(api_key_file).read_text(encoding="utf-8").strip() if api_key_file else ""
    return InferenceServer(url, key, Path(ca_file) if ca_file else None)


def _tls(values: Mapping[str, str]) -> TlsConfig | None:
    cert, key, ca = (_file(values, name) for name in ("TLS_CERT", "TLS_KEY", "TLS_CA"))
    if cert is None and key is None and ca is None:
        return None
    if cert is None or key is None:
        raise InvalidRequest("BESSEMER_TLS_CERT and BESSEMER_TLS_KEY must both be set", field="BESSEMER_TLS_CERT")
    return TlsConfig(cert, key, ca)


def _number(values: Mapping[str, str], key: str, default: float, *, least: float = 0.0) -> float:
    value = values.get(key)
    if not value:
        return default
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not least <= number < 1e6:
        raise InvalidRequest(f"{_PREFIX}{key} must be a number from {least:g}; got {value!r}", field=f"{_PREFIX}{key}")
    return number
