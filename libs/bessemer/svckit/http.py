"""The HTTP door of a service: uvicorn in the same event loop, under our lifecycle."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn

from bessemer.svckit.config import TlsConfig

__all__ = ["HttpDoor"]

_GRACE_S = 5


class HttpDoor(uvicorn.Server):
    """Serves an ASGI application until told to stop; leaves signals alone."""

    def __init__(self, app: Any, listen: str, tls: TlsConfig | None) -> None:
        host, _, port = listen.rpartition(":")
        super().__init__(
            uvicorn.Config(
                app,
                host=host.strip("[]"),
                port=int(port),
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
                ssl_certfile=tls.cert_file if tls else None,
                ssl_keyfile=tls.key_file if tls else None,
                ssl_ca_certs=str(tls.ca_file) if tls and tls.ca_file else None,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: the process has one lifecycle."""
        yield

    def stop(self) -> None:
        """Stop accepting, end after the requests in flight."""
        self.should_exit = True
