"""Real servers for the contract suites; each starts once per run, on free ports, and is stopped by its pid."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest
import sqlalchemy
from bessemer.kernel.clock import SystemClock
from bessemer.local.servers import free_ports, start_nats, start_postgres, start_seaweedfs
from bessemer.svckit.objects import ObjectsConfig, open_objects
from bessemer.svckit.store import Store

S3_ACCESS, S3_SECRET = "test-access", "test-secret-key"


class NatsServer:
    """A broker that tests may kill, wipe and start again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder / "nats", folder / "nats.log"
        self.port = free_ports(1)[0]
        self.url = f"nats://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = start_nats(self.folder, self.port, self.log)

    def kill(self) -> None:
        stop(self.process, signal.SIGKILL)
        self.process = None


def stop(process, number=signal.SIGTERM):
    if process is not None and process.poll() is None:
        os.killpg(process.pid, number)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=20)


@pytest.fixture(scope="session")
def postgres():
    return start_postgres(Path(tempfile.gettempdir()) / f"bessemer-postgres-{uuid.uuid4().hex}")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/service.db"
        return
    server = request.getfixturevalue("postgres")
    name = f"t{uuid.uuid4().hex}"
    admin = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield sqlalchemy.engine.make_url(server).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


@pytest.fixture
def store(database_url):
    store = Store.open(database_url, service="train", clock=SystemClock())
    yield store
    store.close()


@pytest.fixture
def sqlite_stores(tmp_path):
    """Open stores of several services, on SQLite."""
    stores = []

    def open_store(service):
        stores.append(Store.open(f"sqlite:///{tmp_path}/{service}.db", service=service, clock=SystemClock()))
        return stores[-1]

    yield open_store
    for each in stores:
        each.close()


@pytest.fixture
def nats_server(tmp_path):
    server = NatsServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seaweed")
    ports = free_ports(8)
    process = start_seaweedfs(folder, ports, access_key=S3_ACCESS, secret_key=S3_SECRET, log=folder / "weed.log")
    yield f"s3+http://127.0.0.1:{ports[0]}"
    stop(process, signal.SIGKILL)


@pytest.fixture(params=["files", "s3"])
def objects_config(request, tmp_path):
    if request.param == "files":
        return ObjectsConfig(f"file://{tmp_path}/objects", door_url="http://door.test", door_key=b"k" * 32)
    server = request.getfixturevalue("seaweed")
    return ObjectsConfig(f"{server}/bucket-{uuid.uuid4().hex[:8]}", access_key=S3_ACCESS, secret_key=S3_SECRET)


@pytest.fixture
def objects(objects_config):
    return open_objects(objects_config)
