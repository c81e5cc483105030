"""The Python SDK: `Client` and `AsyncClient`, one method per RPC plus uploads, pages, watches and waiters."""

from __future__ import annotations

from bessemer.sdk.async_client import AsyncClient
from bessemer.sdk.client import Client
from bessemer.sdk.connection import Connection
from bessemer.sdk.jobs import JobNotSuccessful

__all__ = ["AsyncClient", "Client", "Connection", "JobNotSuccessful"]
