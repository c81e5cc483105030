"""What the embedded stack consists of, decided without touching anything."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["SERVICES", "Layout", "ProcessPlan", "S3Keys", "StackOptions", "layout_facts", "plan_services"]

SERVICES = ("data", "train", "eval", "serve")
HTTP_SERVICES = ("data", "serve")


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """What may be chosen at the first start; kept in `stack.json` from then on."""

    s3_url: str | None = None  # s3+http://host:port/bucket; None keeps objects in the file system
    database_url: str | None = None  # SQLAlchemy URL with `{service}` in it; None means SQLite


@dataclass(frozen=True, kw_only=True)
class S3Keys:
    """Credentials of the S3 server; kept in `credentials/s3.json`, never in `stack.json`."""

    access_key: str
    secret_key: str


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where everything of one stack lies and listens."""

    home: Path
    ports: Mapping[str, int]  # nats, data, train, eval, serve, data_http, serve_http
    options: StackOptions
    s3_keys: S3Keys | None = None


@dataclass(frozen=True, kw_only=True)
class ProcessPlan:
    """One process to run."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    address: str


def layout_facts(layout: Layout) -> dict[str, Any]:
    """Return what `stack.json` holds: addresses for clients, ports and options for the next start."""
    return {
        "services": {name: _address(layout, name) for name in SERVICES},
        "http": {name: f"http://{_address(layout, f'{name}_http')}" for name in HTTP_SERVICES},
        "ports": dict(layout.ports),
        "s3_url": layout.options.s3_url,
        "database_url": layout.options.database_url,
    }


def plan_services(layout: Layout) -> list[ProcessPlan]:
    """Return the four service processes in start order."""
    return [
        ProcessPlan(
            name=name,
            argv=(sys.executable, "-m", "bessemer.svckit", name),
            environment=_environment(layout, name),
            address=_address(layout, name),
        )
        for name in SERVICES
    ]


def _environment(layout: Layout, name: str) -> dict[str, str]:
    home, credentials = layout.home, layout.home / "credentials"
    database = layout.options.database_url or f"sqlite:///{home}/{{service}}/service.db"
    environment = {
        "PYTHONFAULTHANDLER": "1",  # a crash in native code leaves its stack in the log
        "BESSEMER_HOME": str(home),
        "BESSEMER_LISTEN": _address(layout, name),
        "BESSEMER_DATABASE_URL": database.format(service=name),
        "BESSEMER_NATS_URL": f"nats://{_address(layout, 'nats')}",
        "BESSEMER_OBJECTS_URL": layout.options.s3_url or f"file://{home}/objects",
        "BESSEMER_DOOR_URL": f"http://{_address(layout, 'data_http')}",
        "BESSEMER_DOOR_KEY_FILE": str(credentials / "door.key"),
        "BESSEMER_JWKS_FILE": str(credentials / "jwks.json"),
        "BESSEMER_TOKEN_FILE": str(credentials / f"{name}.token"),
    }
    if layout.s3_keys is not None:
        environment["BESSEMER_S3_ACCESS_KEY"] = layout.s3_keys.access_key
        environment["BESSEMER_S3_SECRET_KEY"] = layout.s3_keys.secret_key
    if name in HTTP_SERVICES:
        environment["BESSEMER_HTTP_LISTEN"] = _address(layout, f"{name}_http")
    for peer in SERVICES:
        environment[f"BESSEMER_PEER_{peer.upper()}"] = _address(layout, peer)
    return environment


def _address(layout: Layout, name: str) -> str:
    return f"127.0.0.1:{layout.ports[name]}"
