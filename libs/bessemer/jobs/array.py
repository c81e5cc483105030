"""Arrays: independent elements of a job, carried out by whatever has processes for them.

An element is a request in the object store, and its answer lies beside it. Elements are idempotent, so that an engine
may start one again, or twice. What an engine has to do is small: run `python -m bessemer.jobs.element ENTRY PREFIX
INDEX` for every index until it ends with code 0, `retries` times more often at most. The answer says whether the
element succeeded; a request that cannot be carried out is answered with an error and not tried again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from google.rpc import status_pb2

from bessemer.kernel.errors import BessemerError
from bessemer.svckit.status import from_status, to_status

__all__ = ["ArrayLauncher", "ArraySpec", "ElementLost", "ElementState", "ElementStatus", "answer_key", "request_key"]
__all__ += ["pack_answer", "run_array", "unpack_answer"]

TICK_S = 0.5
Tick = Callable[[str], None]


@dataclass(frozen=True)
class ArraySpec:
    """What all elements have in common; the same id is the same array."""

    id: str
    entry: str  # Python module with `open_elements`, see `bessemer.jobs.element`
    prefix: str  # of the keys of requests and answers, such as `projects/p/work/arrays/7/`
    retries: int = 1  # of an element whose process ends without an answer
    env: Mapping[str, str] = field(default_factory=dict)


class ElementState(StrEnum):
    """How far an element is."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    ANSWERED = "ANSWERED"
    LOST = "LOST"  # its last process ended without an answer, and no try is left


@dataclass(frozen=True)
class ElementStatus:
    """An element as its launcher sees it."""

    state: ElementState = ElementState.PENDING
    tries: int = 0
    at: str = ""  # where its process is, or was last, if the launcher hears of it
    ending: str = ""  # how its last process ended without an answer, such as `ended with status -9`


class ArrayLauncher(Protocol):
    """Runs elements; called from one thread."""

    shares_files: bool  # elements see the files of this host
    window: int | None  # how many unfinished elements it wants to know of; None: all, before the first begins

    def submit(self, spec: ArraySpec, count: int) -> None:
        """Have the elements below `count` carried out that were not submitted before.

        Raises: Unavailable if the engine cannot be reached.
        """

    def statuses(self, array: str, *, wait_s: float) -> Sequence[ElementStatus]:
        """Return the status of every element by its index, as soon as one ends but after `wait_s` at the latest."""

    def cancel(self, array: str) -> None:
        """End what is unfinished and forget the array; may be repeated."""


class ArrayObjects(Protocol):
    """The part of the object store that arrays need."""

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store bytes."""

    def get_bytes(self, key: str) -> bytes:
        """Return an object."""

    def delete(self, key: str) -> None:
        """Remove an object if it is there."""


class ElementLost(Exception):
    """An element has no answer after all tries."""

    def __init__(self, array: str, index: int, status: ElementStatus) -> None:
        super().__init__(
            f"element {index} of {array} {status.ending} in {status.tries} tries in turn, at {status.at!r}"
        )
        self.index = index
        self.status = status


def request_key(prefix: str, index: int) -> str:
    """Return where an element's request lies."""
    return f"{prefix}{index}.request"


def answer_key(prefix: str, index: int) -> str:
    """Return where an element's answer lies."""
    return f"{prefix}{index}.answer"


def run_array(
    launcher: ArrayLauncher, objects: ArrayObjects, spec: ArraySpec, requests: Iterable[Any], tick: Tick
) -> Iterator[Any]:
    """Yield what the elements return, in their order; requests and results are JSON.

    `tick` hears twice a second where work is, and what it raises ends the array. Requests are taken as the launcher
    wants to know of them, and removed with their answers at the end.
    Raises: the errors that elements end with; ElementLost.
    """
    run = _Run(launcher, objects, spec, iter(requests))
    try:
        while run.hand_over(tick):
            yield from run.answers(tick)
    finally:
        run.close()


def pack_answer(result: Any, error: BessemerError | None = None) -> bytes:
    """Return the bytes of an answer: a result, or the error that an element ended with."""
    if error is None:
        return json.dumps({"result": result}).encode()
    return json.dumps({"error": to_status(error).SerializeToString().hex()}).encode()


def unpack_answer(data: bytes) -> Any:
    """Return the result in an answer.

    Raises: the error in it.
    """
    answer = json.loads(data)
    if "error" in answer:
        raise from_status(status_pb2.Status.FromString(bytes.fromhex(answer["error"])))
    return answer["result"]


class _Run:
    """One array under way; elements below `num_done` have been heard."""

    def __init__(
        self, launcher: ArrayLauncher, objects: ArrayObjects, spec: ArraySpec, requests: Iterator[Any]
    ) -> None:
        self._launcher = launcher
        self._objects = objects
        self._spec = spec
        self._requests = requests
        self._is_open = True  # more requests may come
        self._count = 0
        self._num_done = 0

    def hand_over(self, tick: Tick) -> bool:
        """Submit as many elements as the launcher wants to know of, and say whether any is unfinished."""
        window = self._launcher.window
        while self._is_open and (window is None or self._count - self._num_done < window):
            self._take()
            if self._count and (window is not None or not self._is_open):
                self._launcher.submit(self._spec, self._count)
            tick("")
        return self._num_done < self._count

    def answers(self, tick: Tick) -> Iterator[Any]:
        """Wait for the next elements for a moment, and yield what those return that are there."""
        statuses = self._launcher.statuses(self._spec.id, wait_s=TICK_S)
        tick(next((status.at for status in statuses[self._num_done :] if status.at), ""))
        for index, status in enumerate(statuses[self._num_done :], self._num_done):
            if status.state is ElementState.LOST:
                raise ElementLost(self._spec.id, index, status)
            if status.state is not ElementState.ANSWERED:
                return
            self._num_done = index + 1
            yield unpack_answer(self._objects.get_bytes(answer_key(self._spec.prefix, index)))

    def close(self) -> None:
        """End what is unfinished and remove requests and answers."""
        self._launcher.cancel(self._spec.id)
        for index in range(self._count):
            self._objects.delete(request_key(self._spec.prefix, index))
            self._objects.delete(answer_key(self._spec.prefix, index))

    def _take(self) -> None:
        try:
            request = next(self._requests)
        except StopIteration:
            self._is_open = False
            return
        self._objects.put_bytes(request_key(self._spec.prefix, self._count), json.dumps(request).encode())
        self._count += 1
