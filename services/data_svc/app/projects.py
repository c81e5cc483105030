"""Projects: the tenancy boundary."""

from __future__ import annotations

from bessemer.api.data.v1 import project_service_pb2 as pb
from bessemer.kernel.ids import id_of
from bessemer.svckit.context import current_principal
from bessemer.svckit.store import Store

__all__ = ["Projects"]


class Projects:
    """Use cases of projects."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, request: pb.CreateProjectRequest) -> pb.Project:
        """Create a project."""
        project = pb.Project(
            name=f"projects/{request.project_id}",
            display_name=request.project.display_name,
            labels=request.project.labels,
        )
        return await self._store.write(lambda tx: tx.put(project, verb="created"))

    async def get(self, name: str) -> pb.Project:
        """Return a project."""
        return await self._store.read(lambda tx: tx.get(name, pb.Project))

    async def list(self, page_size: int, page_token: str) -> pb.ListProjectsResponse:
        """Return a page of the projects that the caller may enter; a page may be short or empty."""
        found, token = await self._store.read(
            lambda tx: tx.list(pb.Project, "", page_size=page_size or 50, page_token=page_token)
        )
        caller = current_principal()
        visible = [project for project in found if caller.may_enter(id_of(project.name))]
        return pb.ListProjectsResponse(projects=visible, next_page_token=token)
