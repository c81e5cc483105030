"""The gRPC server of a service: its handlers inside their chains, health beside them, on one port."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc

from bessemer.kernel.errors import Unavailable
from bessemer.svckit.config import TlsConfig
from bessemer.svckit.health import Health
from bessemer.svckit.interceptors import Chain

__all__ = ["Registration", "build_server", "collect"]

Registration = tuple[Callable[[Any, Any], None], Any]  # (add_XServicer_to_server, servicer)

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a lottery
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 5 * 60_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # clients ping every 30 s
    ("grpc.max_receive_message_length", 4 << 20),
)
_RPCS_MAX = 2_048  # the last resort; admission answers politely long before


class _Collector:
    """Takes the place of a server in generated registration functions."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Ignore the untyped twin of what follows."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Note the handlers of a service."""
        self.services[service] = dict(handlers)


def collect(servicers: Sequence[Registration]) -> dict[str, dict[str, Any]]:
    """Return the handlers by service and method, without a server."""
    collector = _Collector()
    for register, servicer in servicers:
        register(servicer, collector)
    return collector.services


def build_server(
    listen: str,
    services: Mapping[str, Mapping[str, Any]],
    *,
    chain: Chain,
    health: Health,
    tls: TlsConfig | None = None,
) -> tuple[grpc.aio.Server, int]:
    """Return a server that is not started yet and the port it will listen on.

    Raises: Internal if a method has no access rule; Unavailable if the port is taken.
    """
    server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_RPCS_MAX)
    for service, handlers in services.items():
        wrapped = {name: chain.wrap(f"/{service}/{name}", handler) for name, handler in handlers.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))
        server.add_registered_method_handlers(service, wrapped)
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    try:
        port = server.add_insecure_port(listen) if tls is None else server.add_secure_port(listen, _credentials(tls))
    except RuntimeError as error:
        raise Unavailable(f"cannot listen on {listen}: {error}; is another process using the port?") from None
    return server, port


def _credentials(tls: TlsConfig) -> grpc.ServerCredentials:
    pair = (tls.key_file.read_bytes(), tls.cert_file.read_bytes())
    authority = tls.ca_file.read_bytes() if tls.ca_file else None
    return grpc.ssl_server_credentials([pair], root_certificates=authority, require_client_auth=authority is not None)
