"""Channels to the suite's services, for services and workers: identity, trace context, deadlines and retries built in.

The service config holds no timeout: Python fires those up to a second early, so deadlines go with each call.
Source: gRFC A6 for retries; measured in tests/integration/test_server.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeAlias

import grpc
import grpc.aio

from bessemer.kernel.errors import InvalidRequest, Unauthenticated
from bessemer.svckit import context, telemetry
from bessemer.svckit.config import ServiceConfig, TlsConfig
from bessemer.svckit.methods import Method, method_table

__all__ = ["Token", "channel", "peer_channel", "service_config", "sync_channel"]

Token: TypeAlias = str | Path  # the token itself, or a file that holds it and may be replaced

_READ_S, _CHANGE_S, _INFER_S = 10.0, 30.0, 300.0
_MARGIN_S = 0.05  # for the answer to travel back inside the caller's own deadline
_BUDGET_LEAST_S = 0.01
_TOKEN_AGE_S = 5.0
_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.enable_retries", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),  # the default of two minutes outlives any restart
)


def channel(address: str, *, token: Token, tls: TlsConfig | None = None) -> grpc.aio.Channel:
    """Open a channel for asyncio code; `address` may list several, as `host:port,host:port`."""
    if tls is None:
        inner = grpc.aio.insecure_channel(_target(address), options=_options())
    else:
        inner = grpc.aio.secure_channel(_target(address), _credentials(tls), options=_options())
    return _AioChannel(inner, _Caller(token))


def sync_channel(address: str, *, token: Token, tls: TlsConfig | None = None) -> grpc.Channel:
    """Open a channel for code in threads, such as workers."""
    if tls is None:
        inner = grpc.insecure_channel(_target(address), options=_options())
    else:
        inner = grpc.secure_channel(_target(address), _credentials(tls), options=_options())
    return grpc.intercept_channel(inner, _SyncInterceptor(_Caller(token)))


def peer_channel(config: ServiceConfig, service: str) -> grpc.aio.Channel:
    """Open the channel from one service to another, with the identity and certificate of the caller.

    Raises: InvalidRequest if the configuration knows no such peer.
    """
    address = config.peers.get(service)
    if address is None:
        raise InvalidRequest(f"no address for service {service!r}; set BESSEMER_PEER_{service.upper()}", field="peers")
    return channel(address, token=config.auth.token_file or "", tls=config.tls)


@cache
def service_config() -> str:
    """Return the gRPC service config: reads and repeatable changes are retried while the server is unavailable."""
    names = [{"service": m.service, "method": m.name} for m in method_table().values() if m.retriable]
    retry = {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "healthCheckConfig": {"serviceName": ""},
            "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
            "methodConfig": [{"name": names, "retryPolicy": retry}],
        }
    )


class _Caller:
    """What every call carries."""

    def __init__(self, token: Token) -> None:
        self._file = token if isinstance(token, Path) else None
        self._token = "" if isinstance(token, Path) else token
        self._read_at = -_TOKEN_AGE_S

    def prepare(self, path: str, metadata: Any, timeout: float | None) -> tuple[Any, float | None]:
        """Return metadata with identity and trace context, and the deadline that fits the method and our own caller."""
        headers: dict[str, str] = {}
        if token := self._current():
            headers["authorization"] = f"Bearer {token}"
        telemetry.inject(headers)
        if request_id := context.current_request_id():
            headers["x-request-id"] = request_id
        given = {key for key, _ in metadata or ()}
        added = ((key, value) for key, value in headers.items() if key not in given)
        return (*(metadata or ()), *added), _deadline_s(path, timeout)

    def _current(self) -> str:
        now = time.monotonic()
        if self._file is not None and now - self._read_at >= _TOKEN_AGE_S:
            try:
                self._token = self._file.read_text().strip()
            except OSError as error:
                raise Unauthenticated(f"the token cannot be read: {error}") from None
            self._read_at = now
        return self._token


class _AioChannel(grpc.aio.Channel):
    """A channel that prepares each call; interceptors would cost another task per call."""

    def __init__(self, inner: grpc.aio.Channel, caller: _Caller) -> None:
        self._inner = inner
        self._caller = caller

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._inner.close()

    async def close(self, grace: float | None = None) -> None:
        """Close the channel; calls in flight may take `grace` seconds to end."""
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 (grpc's)
        """Return the state of the connection."""
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state is another one."""
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait for the connection."""
        await self._inner.channel_ready()

    def unary_unary(self, method: str, *codec: Any, **options: Any) -> Any:
        """Return what calls a unary method."""
        return self._prepared(method, self._inner.unary_unary(method, *codec, **options))

    def unary_stream(self, method: str, *codec: Any, **options: Any) -> Any:
        """Return what calls a server-streaming method."""
        return self._prepared(method, self._inner.unary_stream(method, *codec, **options))

    def stream_unary(self, method: str, *codec: Any, **options: Any) -> Any:
        """Return what calls a client-streaming method; the suite has none."""
        return self._prepared(method, self._inner.stream_unary(method, *codec, **options))

    def stream_stream(self, method: str, *codec: Any, **options: Any) -> Any:
        """Return what calls a method that streams both ways; only health and reflection do."""
        return self._prepared(method, self._inner.stream_stream(method, *codec, **options))

    def _prepared(self, path: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(request: Any, *, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
            metadata, timeout = self._caller.prepare(path, metadata, timeout)
            return inner(request, timeout=timeout, metadata=metadata, **options)

        return call


class _SyncInterceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """The same for code in threads."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Prepare a unary call."""
        return continuation(self._details(client_call_details), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Prepare a server-streaming call."""
        return continuation(self._details(client_call_details), request)

    def _details(self, details: Any) -> Any:
        metadata, timeout = self._caller.prepare(details.method, details.metadata, details.timeout)
        return details._replace(metadata=metadata, timeout=timeout)


def _deadline_s(path: str, timeout: float | None) -> float | None:
    method = method_table().get(path)
    if timeout is None and method is not None and not method.streams:
        timeout = _default_s(method)
    remaining = context.deadline_remaining_s()
    if not remaining:  # none, or over: then this is a task that outlived the call which started it
        return timeout
    budget = max(_BUDGET_LEAST_S, remaining - _MARGIN_S)
    return budget if timeout is None else min(timeout, budget)


def _default_s(method: Method) -> float:
    if method.reads_only:
        return _READ_S
    return _INFER_S if method.action == "infer" and not method.has_request_id else _CHANGE_S


def _target(address: str) -> str:
    return f"ipv4:{address}" if "," in address else address


def _options() -> list[tuple[str, Any]]:
    return [*_OPTIONS, ("grpc.service_config", service_config())]


def _credentials(tls: TlsConfig) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=tls.ca_file.read_bytes() if tls.ca_file else None,
        private_key=tls.key_file.read_bytes() if tls.ca_file else None,
        certificate_chain=tls.cert_file.read_bytes() if tls.ca_file else None,
    )
