"""Models and their immutable versions."""

from __future__ import annotations

from collections.abc import Iterator

from bessemer.api.train.v1 import model_service_pb2 as pb
from bessemer.api.train.v1.model_pb2 import Model, ModelVersion
from bessemer.kernel.errors import InvalidRequest, NotFound
from bessemer.kernel.ids import id_of, parent_of
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

__all__ = ["Registry", "find_version", "register"]


class Registry:
    """Use cases of models."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, name: str) -> Model:
        """Return a model."""
        return await self._store.read(lambda tx: tx.get(name, Model))

    async def list(self, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        """Return a page of a project's models."""
        found, token = await self._store.read(
            lambda tx: tx.list(Model, request.parent, page_size=request.page_size, page_token=request.page_token)
        )
        return pb.ListModelsResponse(models=found, next_page_token=token)

    async def get_version(self, name: str) -> ModelVersion:
        """Return a version by id or alias."""
        return await self._store.read(lambda tx: find_version(tx, name))

    async def list_versions(self, request: pb.ListModelVersionsRequest) -> pb.ListModelVersionsResponse:
        """Return a page of a model's versions, newest last."""
        parent, size, page = request.parent, request.page_size, request.page_token
        found, token = await self._store.read(lambda tx: tx.list(ModelVersion, parent, page_size=size, page_token=page))
        return pb.ListModelVersionsResponse(model_versions=found, next_page_token=token)

    async def set_alias(self, request: pb.SetVersionAliasRequest) -> Model:
        """Point an alias at a version of the same model, or remove it."""
        if not request.etag:
            raise InvalidRequest("etag must be that of the model as you read it", field="etag")
        if request.model_version and parent_of(request.model_version) != request.name:
            raise InvalidRequest(
                f"model_version must be a version of {request.name}; got {request.model_version}", field="model_version"
            )

        def commit(tx: Tx) -> Model:
            model = tx.get(request.name, Model)
            if request.model_version:
                model.aliases[request.alias] = tx.get(request.model_version, ModelVersion).name
            elif request.alias in model.aliases:
                del model.aliases[request.alias]
            return tx.put(model, verb="updated", etag=request.etag)

        return await self._store.write(commit)


def find_version(tx: Tx, name: str) -> ModelVersion:
    """Return a version by id, or by alias as `.../versions/@champion`.

    Raises: NotFound.
    """
    if not id_of(name).startswith("@"):
        return tx.get(name, ModelVersion)
    model = tx.get(parent_of(name), Model)
    alias = id_of(name).removeprefix("@")
    if alias not in model.aliases:
        known = ", ".join(sorted(model.aliases)) or "none"
        raise NotFound(f"{model.name} has no alias {alias!r}; it has {known}", resource=name)
    return tx.get(model.aliases[alias], ModelVersion)


def register(tx: Tx, model: str, version: ModelVersion) -> ModelVersion:
    """Return the version as registered under `model`, which is created when missing.

    Weights that the model has already are found again, not registered twice.
    """
    if tx.find(model, Model) is None:
        tx.put(Model(name=model, display_name=id_of(model)), verb="created")
    count = 0
    for known in _versions(tx, model):
        if known.manifest.sha256 == version.manifest.sha256:
            return known
        count += 1
    version.name = f"{model}/versions/v{count + 1}"
    return tx.put(version, verb="created")


def _versions(tx: Tx, model: str) -> Iterator[ModelVersion]:
    token = ""
    while True:
        page, token = tx.list(ModelVersion, model, page_size=1000, page_token=token)
        yield from page
        if not token:
            return
