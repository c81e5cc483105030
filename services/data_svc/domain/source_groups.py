"""Folders that a data owner would speak of: few enough to read, none too large to judge."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

__all__ = ["group_sources"]

_GROUPS_WANTED, _GROUPS_MAX = 8, 16
_LARGE = 0.1  # of all documents; smaller folders are not divided further


def group_sources(sources: Iterable[str]) -> dict[str, str]:
    """Return the folder that each source belongs to; `.` is the top, `folder/*` the small ones below a folder.

    The largest folder is divided as long as there are few.
    """
    paths = sorted(set(sources))
    groups: dict[str, list[str]] = {"": paths}
    closed: set[str] = set()
    while len(groups) < _GROUPS_WANTED:
        open_groups = [name for name in groups if name not in closed and len(groups[name]) >= _LARGE * len(paths)]
        if not open_groups:
            break
        largest = max(open_groups, key=lambda name: (len(groups[name]), name))
        room = _GROUPS_MAX - len(groups) + 1
        children = _divide(largest, groups.pop(largest), room)
        closed.update(name for name in children if name == largest or name.endswith("*"))
        groups.update(children)
    return {path: (name.rstrip("/") or ".") for name, members in groups.items() for path in members}


def _divide(folder: str, paths: Sequence[str], room: int) -> dict[str, list[str]]:
    """Return the members of a folder by the folder below it that they are in, at most `room` of them.

    A folder ends in `/`, the top is empty; files right in it stay under its own name.
    """
    below: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        place = path.partition("#")[0].find("/", len(folder))
        below[folder if place < 0 else path[: place + 1]].append(path)
    sizes = Counter({name: len(members) for name, members in below.items()})
    kept = {name for name, _ in sizes.most_common(room if len(sizes) <= room else room - 1)}
    groups: dict[str, list[str]] = defaultdict(list)
    for name, members in below.items():
        groups[name if name in kept else f"{folder}*"] += members
    return dict(groups)
