"""Tasks as elements of an array, see `bessemer.jobs.element`: files are fetched, and the result is kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bessemer.jobs.element import Element, Perform

from data_svc.worker.handover import as_files
from data_svc.worker.heap import give_memory_back
from data_svc.worker.tasks import Tools
from data_svc.worker.work import Work

__all__ = ["ENTRY", "open_elements"]

ENTRY = "data_svc.worker.elements"


@contextmanager
def open_elements(scratch: Path) -> Iterator[Perform]:
    """Give what carries out requests: `task` of `tasks`, `project` and `key` of its result, perhaps `out` for it.

    An element returns the name of the object with its result.
    """
    give_memory_back()
    with Tools(scratch) as tools:

        def perform(element: Element) -> Any:
            request = element.request
            work = Work(element.objects, request["project"])
            folder = scratch / "element"
            folder.mkdir()
            try:
                out = Path(request["out"]) if request["out"] else folder / "out"
                tools.perform({**as_files(request["task"], work, folder), "out": str(out)}, element.say)
                return work.keep(request["key"], out)
            finally:
                shutil.rmtree(folder)

        yield perform
