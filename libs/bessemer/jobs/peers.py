"""Channels from a worker to the services that its launcher named."""

from __future__ import annotations

import os
from pathlib import Path

import grpc

from bessemer.jobs.worker import tls_of
from bessemer.kernel.errors import FailedPrecondition
from bessemer.svckit.client import sync_channel

__all__ = ["open_peer", "peer_variable"]


def peer_variable(service: str) -> str:
    """Return the variable of a worker's environment that holds the address of a service."""
    return f"BESSEMER_PEER_{service.upper()}"


def open_peer(service: str) -> grpc.Channel:
    """Open the channel to a service, with the worker's own identity.

    Raises: FailedPrecondition if the launcher named no address.
    """
    address, token = os.environ.get(peer_variable(service), ""), os.environ.get("BESSEMER_TOKEN_FILE", "")
    if not address:
        raise FailedPrecondition(
            f"this worker knows no {service} service; start the service that launched it with {peer_variable(service)}",
            reason="FIELD_INVALID",
        )
    return sync_channel(address, token=Path(token) if token else "", tls=tls_of(os.environ))
