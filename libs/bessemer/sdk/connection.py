"""Where the services are and who we are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bessemer.kernel.errors import InvalidRequest, Unavailable

__all__ = ["Connection"]


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Addresses of the four services, of the two HTTP doors, and a bearer token."""

    services: Mapping[str, str]
    http: Mapping[str, str]
    token: str

    @staticmethod
    def from_home(home: Path) -> Connection:
        """Read what `bessemer up` wrote.

        Raises: Unavailable if no stack was started there.
        """
        stack, token = home / "stack.json", home / "credentials" / "token"
        if not stack.exists() or not token.exists():
            raise Unavailable(f"no Bessemer stack at {home.resolve()}; start one with: bessemer up --home {home}")
        facts = json.loads(stack.read_text())
        return Connection(services=facts["services"], http=facts["http"], token=token.read_text().strip())

    def address(self, area: str) -> str:
        """Return host and port of one service.

        Raises: InvalidRequest for an unknown service.
        """
        if area not in self.services:
            raise InvalidRequest(
                f"no address for service {area!r}; known: {', '.join(sorted(self.services))}", field="area"
            )
        return self.services[area]
