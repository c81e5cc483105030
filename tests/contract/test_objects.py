"""What every object store must do."""

from __future__ import annotations

import hashlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import urllib3
from bessemer.kernel.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from bessemer.local.servers import free_ports
from bessemer.svckit.objects import ObjectsConfig, open_objects
from bessemer.svckit.objects_s3 import check_contract

KEY = "projects/p/blobs/sha256/ab12"


def test_put_bytes_come_back(objects):
    for key, data in (
        (KEY, b"hello"),
        ("a/empty", b""),
        ("a/with=strange@chars+in_it-1.bin", bytes(range(256)) * 1000),
    ):
        objects.put_bytes(key, data)
        assert objects.get_bytes(key) == data
        assert objects.stat(key) == len(data)


def test_put_same_bytes_again_changes_nothing(objects, tmp_path):
    objects.put_bytes(KEY, b"hello")
    objects.put_bytes(KEY, b"hello")
    (tmp_path / "same").write_bytes(b"hello")
    objects.put_file(KEY, tmp_path / "same")
    assert objects.get_bytes(KEY) == b"hello"


@pytest.mark.parametrize("other", [b"hellO", b"hello!", b"hell", b""])
def test_put_other_bytes_is_refused(objects, tmp_path, other):
    objects.put_bytes(KEY, b"hello")
    (tmp_path / "other").write_bytes(other)
    with pytest.raises(AlreadyExists):
        objects.put_bytes(KEY, other)
    with pytest.raises(AlreadyExists):
        objects.put_file(KEY, tmp_path / "other")
    assert objects.get_bytes(KEY) == b"hello"


def test_racing_puts_have_one_winner(objects):
    def put(number):
        try:
            objects.put_bytes(KEY, b"%d" % number * 1000)
        except AlreadyExists:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(put, range(8)) if number is not None]
    assert len(winners) == 1
    assert objects.get_bytes(KEY) == b"%d" % winners[0] * 1000


def test_file_goes_in_and_out_whole(objects, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"0123456789abcdef" * 200_000)
    target.write_bytes(b"old")
    objects.put_file(KEY, source)
    objects.get_file(KEY, target)
    assert target.read_bytes() == source.read_bytes()
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"source", "target"}


def test_file_moves_in_and_is_gone(objects, tmp_path):
    for data in (b"0123456789abcdef" * 200_000, b"0123456789abcdef" * 200_000, b"other"):
        (tmp_path / "source").write_bytes(data)
        if data == b"other":
            with pytest.raises(AlreadyExists):
                objects.move_file(KEY, tmp_path / "source")
        else:
            objects.move_file(KEY, tmp_path / "source")
            assert not (tmp_path / "source").exists()
    assert objects.get_bytes(KEY) == b"0123456789abcdef" * 200_000


def test_large_file_goes_in_parts(objects, tmp_path, monkeypatch):
    monkeypatch.setattr("bessemer.svckit.objects_s3.PART_BYTES", 5 << 20)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(hashlib.sha256(b"x").digest() * (12 << 15))
    objects.put_file(KEY, source)
    objects.put_file(KEY, source)
    objects.get_file(KEY, target)
    assert target.read_bytes() == source.read_bytes()
    source.write_bytes(b"y" * (6 << 20))
    with pytest.raises(AlreadyExists):
        objects.put_file(KEY, source)


def test_missing_object_is_not_found(objects, tmp_path):
    objects.put_bytes("a/b/c", b"1")
    for key in ("a/none", "none", "a/b"):
        with pytest.raises(NotFound):
            objects.get_bytes(key)
        with pytest.raises(NotFound):
            objects.stat(key)
        with pytest.raises(NotFound):
            objects.get_file(key, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_ranges_come_back_and_end_where_the_object_ends(objects):
    data = bytes(range(256)) * 100
    objects.put_bytes(KEY, data)
    for start, length in ((0, 1), (0, 25_600), (1000, 5000), (25_000, 600), (25_000, 9999), (25_600, 1), (99_999, 7)):
        assert objects.get_range(KEY, start, length) == data[start : start + length]
    with pytest.raises(NotFound):
        objects.get_range("a/none", 0, 10)


def test_local_path_is_the_file_of_an_object_or_none(objects):
    objects.put_bytes(KEY, b"hello")
    path = objects.local_path(KEY)
    assert path is None or path.read_bytes() == b"hello"


def test_list_yields_keys_under_a_prefix_in_order(objects):
    keys = ["a-1", "a/1", "a/2/x", "a/2/y", "ab/3", "b"]
    for key in reversed(keys):
        objects.put_bytes(key, b"1")
    assert list(objects.list("")) == keys
    assert list(objects.list("a/")) == keys[1:4]
    assert list(objects.list("a")) == keys[:5]
    assert list(objects.list("a/2/x")) == ["a/2/x"]
    assert list(objects.list("none/")) == []


def test_delete_is_idempotent_and_frees_the_key(objects):
    objects.put_bytes(KEY, b"1")
    objects.delete(KEY)
    objects.delete(KEY)
    with pytest.raises(NotFound):
        objects.stat(KEY)
    objects.put_bytes(KEY, b"2")
    assert objects.get_bytes(KEY) == b"2"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "a/.",
        "a b",
        "a\nb",
        "a\\b",
        "ä",
        ".partial/x",
        "a" * 1025,
        "a/" + "b" * 256,
    ],
)
def test_bad_key_is_refused(objects, tmp_path, key):
    for call in (
        lambda: objects.put_bytes(key, b"1"),
        lambda: objects.put_file(key, tmp_path / "none"),
        lambda: objects.get_bytes(key),
        lambda: objects.get_file(key, tmp_path / "none"),
        lambda: objects.stat(key),
        lambda: objects.delete(key),
        lambda: objects.signed_url("GET", key, expires_s=10),
    ):
        with pytest.raises(InvalidRequest):
            call()


@pytest.mark.parametrize("prefix", ["../", "/", "a/../", "..", "a//"])
def test_bad_prefix_is_refused(objects, prefix):
    with pytest.raises(InvalidRequest):
        list(objects.list(prefix))


def test_contract_check_accepts_it(objects):
    check_contract(objects)
    assert list(objects.list("")) == []


def test_contract_check_refuses_a_store_that_overwrites(objects):
    class Overwriting:
        def put_bytes(self, key, data):
            objects.delete(key)
            objects.put_bytes(key, data)

        def __getattr__(self, name):
            return getattr(objects, name)

    with pytest.raises(FailedPrecondition, match="overwrites"):
        check_contract(Overwriting())


def test_store_opened_twice_is_the_same(objects, objects_config):
    objects.put_bytes(KEY, b"1")
    assert open_objects(objects_config).get_bytes(KEY) == b"1"


def test_s3_signed_urls_read_and_write(seaweed):
    objects = open_objects(ObjectsConfig(f"{seaweed}/signed", access_key="test-access", secret_key="test-secret-key"))
    url, headers = objects.signed_url(
        "PUT", KEY, expires_s=60, size_bytes=5, sha256=hashlib.sha256(b"hello").hexdigest()
    )
    assert httpx.put(url, content=b"hello", headers=headers).status_code == 200
    assert objects.get_bytes(KEY) == b"hello"
    objects.put_bytes(KEY, b"hello")  # compared by content where no digest was recorded
    url, headers = objects.signed_url("GET", KEY, expires_s=60)
    assert httpx.get(url, headers=headers).content == b"hello"
    assert httpx.get(url.replace("ab12", "ab13")).status_code == 403


def test_s3_with_wrong_credentials_is_denied(seaweed):
    with pytest.raises(PermissionDenied):
        open_objects(ObjectsConfig(f"{seaweed}/denied", access_key="test-access", secret_key="wrong"))


def test_s3_that_hangs_is_unavailable_in_time(monkeypatch):
    monkeypatch.setattr("bessemer.svckit.objects_s3.TIMEOUT", urllib3.Timeout(connect=0.3, read=0.3))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            open_objects(
                ObjectsConfig(f"s3+http://127.0.0.1:{silent.getsockname()[1]}/bucket", access_key="a", secret_key="b")
            )
        assert time.monotonic() - began < 5


def test_s3_object_with_other_bytes_is_data_loss(seaweed, tmp_path):
    objects = open_objects(ObjectsConfig(f"{seaweed}/damaged", access_key="test-access", secret_key="test-secret-key"))
    lie = {"x-amz-meta-sha256": hashlib.sha256(b"hello").hexdigest()}
    objects._client._put_object("damaged", KEY, b"hellO", headers=lie)
    with pytest.raises(DataLoss):
        objects.get_bytes(KEY)
    with pytest.raises(DataLoss):
        objects.get_file(KEY, tmp_path / "target")
    assert not list(tmp_path.iterdir())


def test_s3_that_does_not_answer_is_unavailable():
    port = free_ports(1)[0]
    with pytest.raises(Unavailable):
        open_objects(ObjectsConfig(f"s3+http://127.0.0.1:{port}/bucket", access_key="a", secret_key="b"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/path",
        "file://host/path",
        "s3://bucket",
        "s3+http://host:1",
        "s3+http://h/a/b",
        "s3+http://h/b",
        "s3+http://h/Bucket",
        "ftp://h/b",
    ],
)
def test_unknown_url_is_refused(url):
    with pytest.raises(FailedPrecondition):
        open_objects(ObjectsConfig(url))
