"""An entry of arrays that does what a request says."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bessemer.jobs.element import Element, Perform
from bessemer.kernel.errors import FailedPrecondition


@contextmanager
def open_elements(scratch: Path) -> Iterator[Perform]:
    def perform(element: Element) -> int:
        request = element.request
        element.say(f"at {request['number']}")
        tries = len([*element.objects.list(f"tries/{request['number']}/")])
        element.objects.put_bytes(f"tries/{request['number']}/{tries}", b"tried")
        if tries < request.get("deaths", 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if "refused" in request:
            raise FailedPrecondition(request["refused"], reason="SOURCE_INVALID", file="a.txt")
        if "broken" in request:
            raise ValueError(request["broken"])
        scratch.joinpath("made").write_text("there is a folder to work in")
        return int(request["number"] ** 2)

    yield perform
