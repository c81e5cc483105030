"""What the use cases need from the neighbours."""

from __future__ import annotations

from typing import Protocol

from bessemer.api.data.v1.artifact_service_pb2 import Upload
from bessemer.api.data.v1.dataset_pb2 import DatasetVersion
from bessemer.api.eval.v1.evaluation_pb2 import Judge
from bessemer.api.serve.v1.deployment_pb2 import Deployment
from bessemer.api.train.v1.model_pb2 import ModelVersion

__all__ = ["DataCatalog", "JudgeBook", "ModelCatalog", "ServingCatalog"]


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


class ServingCatalog(Protocol):
    """What is served; calls end with the caller's deadline."""

    async def deployment(self, endpoint: str) -> Deployment:
        """Return the one deployment that answers for an endpoint.

        Raises: NotFound, Unavailable; FailedPrecondition if there is not exactly one, or nobody to ask.
        """


class JudgeBook(Protocol):
    """The models that may mark answers."""

    def judges(self) -> dict[str, Judge]:
        """Return them by name.

        Raises: FailedPrecondition.
        """
