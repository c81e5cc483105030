"""The HTTP door of a service: uvicorn in the same event loop, under our lifecycle; and the metrics behind it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bessemer.kernel.errors import PermissionDenied, Unauthenticated, Unavailable
from bessemer.svckit.auth import Authenticator
from bessemer.svckit.authorization import Authorizer
from bessemer.svckit.config import TlsConfig
from bessemer.svckit.telemetry import prometheus_text

__all__ = ["HttpDoor", "metrics_route"]

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"

_GRACE_S = 5
_WAITING_MAX = 512


class HttpDoor(uvicorn.Server):
    """Serves an ASGI application until told to stop; leaves signals alone.

    Raises: Unavailable at once if the port is taken; uvicorn itself would end the process.
    """

    def __init__(self, app: Any, listen: str, tls: TlsConfig | None) -> None:
        host, _, port = listen.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, int(port)), family=family, backlog=_WAITING_MAX)
        except OSError as error:
            raise Unavailable(
                f"cannot listen on {listen}: {error.strerror}; is another process using the port?"
            ) from None
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
                ssl_certfile=tls.cert_file if tls else None,
                ssl_keyfile=tls.key_file if tls else None,
                ssl_ca_certs=str(tls.ca_file) if tls and tls.ca_file else None,
            )
        )

    async def run_here(self) -> None:
        """Serve until told to stop."""
        await self.serve(sockets=[self._socket])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: the process has one lifecycle."""
        yield

    def stop(self) -> None:
        """Stop accepting, end after the requests in flight."""
        self.should_exit = True


def metrics_route(authenticator: Authenticator, authorizer: Authorizer) -> Route:
    """Return the route that Prometheus scrapes; its token must be good for reading in all projects."""

    def serve(request: Request) -> Response:
        try:
            principal = authenticator.authenticate(request.headers.get("authorization", ""))
            authorizer.check(principal, action="read", permission="system.metrics.read", projects=())
        except Unauthenticated as error:
            return PlainTextResponse(error.message, status_code=401)
        except PermissionDenied as error:
            return PlainTextResponse(error.message, status_code=403)
        return Response(prometheus_text(), media_type=_TEXT_FORMAT)

    return Route("/metrics", serve)
