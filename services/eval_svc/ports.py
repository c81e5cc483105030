"""What the use cases need from the neighbours."""

from __future__ import annotations

from typing import Protocol

from bessemer.api.data.v1.artifact_service_pb2 import Upload
from bessemer.api.data.v1.dataset_pb2 import DatasetVersion
from bessemer.api.train.v1.model_pb2 import ModelVersion

__all__ = ["DataCatalog", "ModelCatalog"]


class DataCatalog(Protocol):
    """What suites are made from; calls end with the caller's deadline."""

    async def version(self, name: str) -> DatasetVersion:
        """Return a sealed dataset version.

        Raises: NotFound, Unavailable.
        """

    async def upload(self, name: str) -> Upload:
        """Return an upload, complete or not.

        Raises: NotFound, Unavailable.
        """


class ModelCatalog(Protocol):
    """What runs are about; calls end with the caller's deadline."""

    async def version(self, name: str) -> ModelVersion:
        """Return a model version by its name or by an alias, `.../versions/@champion`.

        Raises: NotFound, Unavailable.
        """
