"""Workers wait for an object store that is away for a while."""

from __future__ import annotations

import pytest
from bessemer.jobs import patient_objects
from bessemer.jobs.patient_objects import PatientObjects
from bessemer.kernel.errors import NotFound, Unavailable
from bessemer.svckit.objects_files import FileObjects


class Restarting:
    """A real store that is away for the first few calls."""

    def __init__(self, store: FileObjects, num_refusals: int) -> None:
        self.store, self.num_refusals = store, num_refusals

    def __getattr__(self, name):
        if self.num_refusals:
            self.num_refusals -= 1
            raise Unavailable("connection refused")
        return getattr(self.store, name)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(patient_objects, "_FIRST_DELAY_S", 0.001)


def test_operations_during_a_restart_succeed_after_it(tmp_path):
    objects = PatientObjects(lambda: Restarting(FileObjects(tmp_path), 3))
    objects.put_bytes("projects/p/a", b"one")
    objects._store.num_refusals = 2
    assert [*objects.list("projects/p/")] == ["projects/p/a"]
    objects._store.num_refusals = 2
    assert objects.get_bytes("projects/p/a") == b"one"
    assert objects.stat("projects/p/a") == 3
    objects._store.num_refusals = 2
    assert objects.get_range("projects/p/a", 1, 5) == b"ne"
    objects._store.num_refusals = 2
    assert objects.local_path("projects/p/a").read_bytes() == b"one"


def test_a_store_that_cannot_be_opened_yet_is_opened_later(tmp_path):
    refusals = [Unavailable("connection refused")] * 3

    def open_store() -> FileObjects:
        if refusals:
            raise refusals.pop()
        return FileObjects(tmp_path)

    PatientObjects(open_store).put_bytes("projects/p/a", b"one")
    assert FileObjects(tmp_path).get_bytes("projects/p/a") == b"one"


def test_an_outage_that_lasts_is_reported(tmp_path):
    objects = PatientObjects(lambda: Restarting(FileObjects(tmp_path), 10**9), outage_s=0.02)
    with pytest.raises(Unavailable, match="refused"):
        objects.get_bytes("projects/p/a")


def test_an_answer_is_not_an_outage(tmp_path):
    objects = PatientObjects(lambda: FileObjects(tmp_path))
    with pytest.raises(NotFound):
        objects.get_bytes("projects/p/a")
