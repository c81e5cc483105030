"""A real stack per variant: processes, broker, stores; stopped by pid at the end."""

from __future__ import annotations

import os
import shutil
import socket
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bessemer.cli.demo.documents import gather
from bessemer.local import stack
from bessemer.local.plan import SERVICES, StackOptions
from bessemer.sdk import Client


@dataclass
class Stack:
    home: Path
    options: StackOptions

    def client(self) -> Client:
        return Client.connect(self.home)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
    from bessemer.local.servers import start_postgres, start_seaweedfs

    folder = tmp_path_factory.mktemp("clustered")
    postgres = start_postgres(folder / "postgres")
    s3 = start_seaweedfs(folder / "s3", free_port(), folder / "s3.log")
    os.environ["BESSEMER_S3_ACCESS_KEY"], os.environ["BESSEMER_S3_SECRET_KEY"] = s3.access_key, s3.secret_key
    try:
        for service in SERVICES:
            postgres.create_database(f"bessemer_{service}")
        options = StackOptions(s3_url=f"{s3.url}/bessemer", database_url=postgres.url_of("bessemer_{service}"))
        yield from run_stack(folder / "home", options)
    finally:
        s3.stop()
        postgres.stop()


def run_stack(home: Path, options: StackOptions) -> Iterator[Stack]:
    stack.up(home, options)
    try:
        yield Stack(home, options)
    finally:
        stack.down(home)
        if keep := os.environ.get("KEEP_HOME"):
            shutil.copytree(home, keep, dirs_exist_ok=True)
