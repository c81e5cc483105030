"""Whether the caller may: Cedar policies over roles, classes of action and projects, denied by default."""

from __future__ import annotations

import time
from collections.abc import Iterable
from importlib import resources

import cedarpy

from bessemer.kernel.errors import PermissionDenied
from bessemer.svckit.context import Principal

__all__ = ["Authorizer"]

_REMEMBER_S = 30.0
_CACHE_MAX = 8_192
_SYSTEM = ""  # no project can be called so


class Authorizer:
    """Decides by `policies.cedar`; decisions are remembered for 30 seconds."""

    def __init__(self, policies: str | None = None) -> None:
        text = policies or (resources.files("bessemer.svckit") / "policies.cedar").read_text()
        self._policies = cedarpy.PolicySet.from_str(text)
        self._known: dict[tuple[Principal, str, str, str], tuple[bool, float]] = {}

    def check(self, principal: Principal, *, action: str, permission: str, projects: Iterable[str]) -> None:
        """Let the caller pass or not; a call that names no project is about the whole system.

        Raises: PermissionDenied saying which permission is missing where.
        """
        for project in sorted(set(projects)) or [_SYSTEM]:
            if not self._allows(principal, action, permission, project):
                place = "the whole system" if project == _SYSTEM else f"project {project}"
                raise PermissionDenied(
                    f"{principal.subject} may not {action} ({permission}) in {place}; ask for a role that can",
                    permission=permission,
                    project=project,
                )

    def _allows(self, principal: Principal, action: str, permission: str, project: str) -> bool:
        key, now = (principal, action, permission, project), time.monotonic()
        known = self._known.get(key)
        if known is not None and now < known[1]:
            return known[0]
        allowed = self._decide(principal, action, permission, project)
        if len(self._known) >= _CACHE_MAX:
            self._known.clear()
        self._known[key] = (allowed, now + _REMEMBER_S)
        return allowed

    def _decide(self, principal: Principal, action: str, permission: str, project: str) -> bool:
        user = {"type": "User", "id": principal.subject}
        place = {"type": "Project", "id": project}
        roles = [{"type": "Role", "id": role} for role in sorted(principal.roles)]
        entities: list[dict[str, object]] = [
            {"uid": user, "attrs": {"projects": sorted(principal.projects)}, "parents": roles},
            {"uid": place, "attrs": {"project": project}, "parents": []},
        ]
        request = {
            "principal": user,
            "action": {"type": "Action", "id": action},
            "resource": place,
            "context": {"permission": permission},
        }
        return bool(cedarpy.is_authorized(request, self._policies, entities).allowed)
