"""Sources beyond folders, each read from the real thing."""

from __future__ import annotations

import json
import sqlite3
import subprocess

import pytest
from bessemer.kernel.errors import InvalidRequest, NotFound, Unavailable
from bessemer.local.servers import free_ports, start_seaweedfs
from bessemer.sdk.archive import list_files
from bessemer.sdk.sources import S3Credentials, fetch_source
from minio import Minio

KEYS = {"access_key": "tests", "secret_key": "tests-secret"}


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "handbook"
    folder.mkdir()

    def git(*words):
        identity = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)

    git("init", "--quiet", "--initial-branch=main")
    (folder / "guide.md").write_text("# First guide\n")
    git("add", "guide.md")
    git("commit", "--quiet", "-m", "first")
    git("tag", "v1")
    (folder / "guide.md").write_text("# Second guide\n")
    git("commit", "--quiet", "-am", "second")
    (folder / "draft.md").write_text("not tracked")
    return folder


@pytest.mark.parametrize(("reference", "title"), [("", "# Second guide"), ("@v1", "# First guide")])
def test_git_source_gives_the_tracked_files_of_one_state(repository, tmp_path, reference, title):
    found = fetch_source(f"git+file://{repository}{reference}", tmp_path / "out")
    assert [path.name for path in list_files(found)] == ["guide.md"]
    assert (found / "guide.md").read_text().strip() == title


@pytest.mark.parametrize("address", ["git+file:///no/such/repository", "git+ext::touch pwned", "git+--upload-pack=x"])
def test_git_source_that_cannot_be_cloned_is_refused(tmp_path, address):
    with pytest.raises((NotFound, InvalidRequest)):
        fetch_source(address, tmp_path)
    assert not (tmp_path / "pwned").exists()


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "tickets.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE tickets (id INTEGER, subject TEXT, body TEXT)")
        connection.executemany(
            "INSERT INTO tickets VALUES (?, ?, ?)", [(1, "Login", "Cannot\nlog in"), (2, "Café", None)]
        )
    return path


def test_sql_source_gives_one_document_per_row(database, tmp_path):
    found = fetch_source(f"sqlite:///{database}", tmp_path, query="SELECT * FROM tickets ORDER BY id")
    texts = [json.loads(line)["text"] for line in found.read_text().splitlines()]
    assert texts == ["id: 1\nsubject: Login\n\nbody:\nCannot\nlog in", "id: 2\nsubject: Café"]


@pytest.mark.parametrize("query", ["DELETE FROM tickets", "SELECT nonsense", "INSERT INTO tickets VALUES (3, '', '')"])
def test_sql_source_refuses_what_does_not_read(database, tmp_path, query):
    with pytest.raises(InvalidRequest) as caught:
        fetch_source(f"sqlite:///{database}", tmp_path, query=query)
    assert caught.value.fields["field"] == "query"
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM tickets").fetchone() == (2,)


def test_sql_source_without_a_query_says_what_to_add(tmp_path):
    with pytest.raises(InvalidRequest, match="--query"):
        fetch_source("sqlite:///tickets.db", tmp_path)


def test_s3_source_copies_the_prefix_and_stays_inside_the_folder(tmp_path):
    ports = free_ports(8)
    server = start_seaweedfs(tmp_path / "s3", ports, log=tmp_path / "s3.log", **KEYS)
    try:
        client = Minio(f"127.0.0.1:{ports[0]}", secure=False, **KEYS)
        client.make_bucket(bucket_name="docs")
        for name in ("manual/one.md", "manual/deep/two.md", "other/three.md"):
            path = tmp_path / "object"
            path.write_text(name)
            client.fput_object(bucket_name="docs", object_name=name, file_path=str(path))
        url = f"s3+http://127.0.0.1:{ports[0]}/docs/manual/"
        found = fetch_source(url, tmp_path / "out", credentials=S3Credentials(**KEYS))
        assert [str(p.relative_to(found)) for p in list_files(found)] == ["manual/deep/two.md", "manual/one.md"]
        with pytest.raises(NotFound):
            fetch_source(url + "nothing/", tmp_path / "none", credentials=S3Credentials(**KEYS))
    finally:
        server.terminate()
        server.wait(20)
    with pytest.raises(Unavailable):
        fetch_source(url, tmp_path / "gone", credentials=S3Credentials(**KEYS))
