"""What the use cases need from outside."""

from __future__ import annotations

from typing import Protocol

from bessemer.api.data.v1.artifact_service_pb2 import Upload
from bessemer.api.data.v1.dataset_pb2 import DatasetVersion
from bessemer.api.data.v1.mixture_pb2 import Mixture

__all__ = ["DatasetCatalog"]


class DatasetCatalog(Protocol):
    """What there is to learn from and to import; calls end with the caller's deadline."""

    async def version(self, name: str) -> DatasetVersion:
        """Return a sealed dataset version.

        Raises: NotFound, Unavailable.
        """

    async def mixture(self, name: str) -> Mixture:
        """Return a mixture.

        Raises: NotFound, Unavailable.
        """

    async def upload(self, name: str) -> Upload:
        """Return an upload, complete or not.

        Raises: NotFound, Unavailable.
        """
