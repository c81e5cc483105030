"""`python -m bessemer.jobs.element ENTRY PREFIX INDEX`: a process for one element of an array.

Without PREFIX and INDEX it serves a pool: one element per line of standard input, `{"prefix", "index"}`; on standard
output lines `{"at"}` where it is, and `{}` when the element is answered. The environment says where objects lie.

ENTRY is a module with `open_elements(scratch)`: a context manager that gives a function from `Element` to its result.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer.jobs.array import answer_key, pack_answer, request_key
from bessemer.jobs.failures import as_bessemer_error
from bessemer.jobs.patient_objects import objects_of
from bessemer.kernel.errors import AlreadyExists, BessemerError, Internal
from bessemer.kernel.processes import die_with_parent
from bessemer.svckit.objects import ObjectStore

__all__ = ["Element", "Perform", "answer_element", "open_entry"]


@dataclass(frozen=True)
class Element:
    """What a process does: the request as it lies in the store, and whom to tell where the work is."""

    request: Any
    objects: ObjectStore
    say: Callable[[str], None]


Perform = Callable[[Element], Any]


def open_entry(entry: str, scratch: Path) -> AbstractContextManager[Perform]:
    """Return what carries out the elements of an entry."""
    opened: AbstractContextManager[Perform] = importlib.import_module(entry).open_elements(scratch)
    return opened


def answer_element(
    perform: Perform, objects: ObjectStore, prefix: str, index: int, say: Callable[[str], None] = lambda _at: None
) -> None:
    """Carry out an element and answer it, with a result or an error; one that was answered before stays so."""
    places = [""]

    def note(at: str) -> None:
        places[0] = at
        say(at)

    try:
        request = json.loads(objects.get_bytes(request_key(prefix, index)))
        answer = pack_answer(perform(Element(request, objects, note)))
    except BrokenPipeError:
        raise  # nobody listens any more
    except Exception as error:  # noqa: BLE001 - whoever has made the request judges
        answer = pack_answer(None, _at(as_bessemer_error(error), places[0]))
    try:
        objects.put_bytes(answer_key(prefix, index), answer)
    except AlreadyExists:  # it was started twice: elements are idempotent, so the first answer is as good
        return


def _at(error: BessemerError, place: str) -> BessemerError:
    """Return an error that says where it happened, if nobody has said so."""
    if type(error) is not Internal or not place:
        return error
    return Internal(f"failed at {place}: {error.message}", **{**error.fields, "file": place})


def _serve(perform: Perform, objects: ObjectStore) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like an answer

    def say(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    with contextlib.suppress(BrokenPipeError):  # the pool is gone
        for line in sys.stdin:
            asked = json.loads(line)
            answer_element(perform, objects, asked["prefix"], asked["index"], lambda at: say(at=at))
            say()


def _main() -> None:
    entry, *element = sys.argv[1:]
    objects = objects_of(os.environ)
    if not element:
        die_with_parent()
    with (
        tempfile.TemporaryDirectory(prefix="bessemer-element-") as folder,
        open_entry(entry, Path(folder)) as perform,
    ):
        if element:
            answer_element(perform, objects, element[0], int(element[1]))
        else:
            _serve(perform, objects)


if __name__ == "__main__":
    _main()
