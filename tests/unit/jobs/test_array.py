"""Arrays, on this host's pool and on an engine that shares nothing but the object store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from bessemer.jobs.array import ArrayLauncher, ArraySpec, ElementLost, request_key, run_array
from bessemer.jobs.array_local import LocalArrays
from bessemer.jobs.patient_objects import objects_env
from bessemer.kernel.errors import FailedPrecondition, Internal
from bessemer.svckit.objects_files import FileObjects

from tests.unit.jobs.foreign_arrays import ForeignArrays

SPEC = ArraySpec("squares-1", "tests.unit.jobs.array_entry", "projects/p/work/arrays/squares-1/")


@pytest.fixture
def objects(tmp_path: Path) -> FileObjects:
    return FileObjects(tmp_path / "objects")


@pytest.fixture(params=["local", "foreign"])
def launcher(request: pytest.FixtureRequest, tmp_path: Path, objects: FileObjects) -> Iterator[ArrayLauncher]:
    if request.param == "local":
        with LocalArrays(objects.config, tmp_path / "scratch", workers=2) as arrays:
            yield arrays
        assert not [child for child in psutil.Process().children() if "bessemer.jobs.element" in child.cmdline()]
    else:
        yield ForeignArrays(tmp_path, objects_env(objects.config))


def run(launcher: ArrayLauncher, objects: FileObjects, requests: list[dict[str, Any]]) -> list[Any]:
    return [*run_array(launcher, objects, SPEC, iter(requests), lambda _at: None)]


def tried(objects: FileObjects, number: int) -> int:
    return len([*objects.list(f"tries/{number}/")])


def test_elements_answer_in_order_and_one_whose_process_dies_is_tried_again(
    launcher: ArrayLauncher, objects: FileObjects
) -> None:
    requests = [{"number": number, "deaths": int(number == 1)} for number in range(5)]
    assert run(launcher, objects, requests) == [0, 1, 4, 9, 16]
    assert [tried(objects, number) for number in range(5)] == [1, 2, 1, 1, 1]
    assert [*objects.list(SPEC.prefix)] == [], "requests and answers go with the array"


def test_element_whose_process_always_dies_is_lost_after_its_tries(
    launcher: ArrayLauncher, objects: FileObjects
) -> None:
    with pytest.raises(ElementLost, match="ended with status -9") as caught:
        run(launcher, objects, [{"number": 0}, {"number": 1, "deaths": 9}, {"number": 2}])
    assert (caught.value.index, caught.value.status.tries, tried(objects, 1)) == (1, 2, 2)


def test_error_of_an_element_reaches_its_caller_as_it_is_and_is_not_tried_again(
    launcher: ArrayLauncher, objects: FileObjects
) -> None:
    with pytest.raises(FailedPrecondition, match="leave it out") as caught:
        run(launcher, objects, [{"number": 0, "refused": "leave it out"}, {"number": 1}])
    assert (caught.value.reason, caught.value.fields["file"]) == ("SOURCE_INVALID", "a.txt")
    with pytest.raises(Internal, match="failed at at 7: ValueError: seven"):
        run(launcher, objects, [{"number": 7, "broken": "seven"}])
    assert (tried(objects, 0), tried(objects, 7)) == (1, 1)


def test_array_without_elements_ends_at_once(launcher: ArrayLauncher, objects: FileObjects) -> None:
    assert run(launcher, objects, []) == []


def test_pool_learns_of_elements_while_they_are_made(tmp_path: Path, objects: FileObjects) -> None:
    waiting: list[int] = []

    def requests() -> Iterator[dict[str, int]]:
        for number in range(12):
            waiting.append(sum(objects.path(request_key(SPEC.prefix, at)).exists() for at in range(number)))
            yield {"number": number}

    with LocalArrays(objects.config, tmp_path / "scratch", workers=1) as arrays:
        answers = run_array(arrays, objects, SPEC, requests(), lambda _at: None)
        assert next(answers) == 0
        assert len(waiting) == 2, "no more than the pool wants to know of"
        assert [*answers] == [number**2 for number in range(1, 12)]
