"""What the store keeps when its process or its disk fails."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest
from bessemer.api.train.v1.model_pb2 import Model
from bessemer.kernel.clock import SystemClock
from bessemer.kernel.errors import DataLoss, LimitReached
from bessemer.svckit import audit
from bessemer.svckit.outbox import upkeep
from bessemer.svckit.store import Store

WRITER = """
import asyncio, sys
from bessemer.api.train.v1.model_pb2 import Model
from bessemer.kernel.clock import SystemClock
from bessemer.svckit.store import Store

async def client(store, number):
    for step in range(100_000):
        name = f"projects/p/models/m{number}-{step}"
        await store.write(lambda tx: tx.put(Model(name=name), verb="created"))
        print(name, flush=True)

async def main():
    store = Store.open(sys.argv[1], service="train", clock=SystemClock())
    await asyncio.gather(*(client(store, number) for number in range(8)))

asyncio.run(main())
"""


def put(name, **fields):
    return lambda tx: tx.put(Model(name=f"projects/p/models/{name}", **fields), verb="created")


async def fill(store):
    for number in range(40):
        await store.write(put(f"m{number}", display_name="x" * 100_000))


def write_until_killed(url, num_lines):
    """Return what a writer acknowledged before it was killed."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
    try:
        acknowledged = [writer.stdout.readline().strip() for _ in range(num_lines)]
    finally:
        writer.send_signal(signal.SIGKILL)
    acknowledged += writer.stdout.read().split("\n")[:-1]
    writer.wait()
    writer.stdout.close()
    return acknowledged


@pytest.mark.parametrize("round_number", range(3))
async def test_killed_process_loses_nothing_it_acknowledged(tmp_path, round_number):
    url = f"sqlite:///{tmp_path}/a.db"
    acknowledged = await asyncio.to_thread(write_until_killed, url, 30 + 41 * round_number)
    store = Store.open(url, service="train", clock=SystemClock())
    try:
        events = await store.read(lambda tx: tx.changes(0, limit=100_000))
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert set(acknowledged) <= {event.resource for event in events}
        for event in events:  # state and outbox are one
            assert await store.read(lambda tx, name=event.resource: tx.find(name, Model))
        await store.read(lambda tx: audit.verify(tx.connection))
    finally:
        store.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_full_disk_is_storage_full_and_heals(small_disk):
    ballast = small_disk / "ballast"
    store = Store.open(f"sqlite:///{small_disk}/a.db", service="train", clock=SystemClock())
    try:
        await store.write(put("first"))
        ballast.write_bytes(b"0" * 1_000_000)
        with pytest.raises(LimitReached) as caught:
            await fill(store)
        assert caught.value.reason == "STORAGE_FULL"
        head = await store.read(lambda tx: tx.head())
        ballast.unlink()
        await store.write(put("last", display_name="x" * 100_000))
        assert await store.read(lambda tx: tx.head()) == head + 1
        assert store.failure is None
    finally:
        store.close()


async def test_call_that_fills_the_disk_does_not_fail_its_neighbours(small_disk):
    store = Store.open(f"sqlite:///{small_disk}/a.db", service="train", clock=SystemClock())
    try:
        sizes = [10, 880_000, 880_000, 880_000, 10]
        results = await asyncio.gather(
            *(store.write(put(f"m{n}", display_name="x" * size)) for n, size in enumerate(sizes)),
            return_exceptions=True,
        )
        assert [isinstance(result, Model) for result in (results[0], results[-1])] == [True, True]
        assert any(isinstance(result, LimitReached) for result in results)
    finally:
        store.close()


async def test_fsync_error_stops_all_writing_and_the_process(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/a.db", service="train", clock=SystemClock())

    class BrokenDisk(Exception):
        sqlite_errorname = "SQLITE_IOERR_FSYNC"

    def fail(_tx):
        raise BrokenDisk

    try:
        store._writer._note(BrokenDisk())  # no disk here fails on demand
        for _ in range(2):
            with pytest.raises(DataLoss):
                await store.write(put("m"))
        with pytest.raises(DataLoss):
            await upkeep(store)
    finally:
        store.close()
