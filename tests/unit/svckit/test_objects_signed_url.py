from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from bessemer.kernel.errors import PermissionDenied
from bessemer.svckit.objects import ObjectsConfig, open_objects
from bessemer.svckit.signed_url import Grant, sign_url, verify_signature

DOOR = b"0" * 32


def signed(**changed):
    facts = {"expires": 1000, "size_bytes": 5, "sha256": "ab"} | changed
    parts = urlsplit(sign_url("http://door", DOOR, "PUT", "a/b+c", **facts))
    return parts, dict(parse_qsl(parts.query))


def test_signed_url_leads_to_the_door_and_is_accepted():
    parts, query = signed()
    assert (parts.netloc, parts.path) == ("door", "/objects/a/b%2Bc")
    assert verify_signature(DOOR, "PUT", "a/b+c", query, now=999) == Grant("PUT", "a/b+c", 5, "ab")


def test_signed_url_without_size_and_digest_grants_any_body():
    _, query = signed(size_bytes=None, sha256=None)
    assert verify_signature(DOOR, "PUT", "a/b+c", query, now=999) == Grant("PUT", "a/b+c", None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET"},
        {"expires": "9999"},
        {"size": "6"},
        {"sha256": "cd"},
        {"signature": "0" * 64},
        {"signature": ""},
        {"signature": "ü"},
    ],
)
def test_changed_url_is_refused(change):
    _, query = signed()
    with pytest.raises(PermissionDenied):
        verify_signature(DOOR, "PUT", "a/b+c", query | change, now=999)


@pytest.mark.parametrize("missing", ["method", "expires", "size", "sha256", "signature"])
def test_url_that_lacks_a_part_is_refused(missing):
    _, query = signed()
    del query[missing]
    with pytest.raises(PermissionDenied):
        verify_signature(DOOR, "PUT", "a/b+c", query, now=999)


def test_other_request_or_key_or_later_time_is_refused():
    _, query = signed()
    for door, method, key, now in (
        (DOOR, "GET", "a/b+c", 999),
        (DOOR, "PUT", "a/b", 999),
        (b"1" * 32, "PUT", "a/b+c", 999),
        (DOOR, "PUT", "a/b+c", 1001),
    ):
        with pytest.raises(PermissionDenied):
            verify_signature(door, method, key, query, now=now)


def test_file_store_signs_for_its_door(tmp_path):
    objects = open_objects(ObjectsConfig(f"file://{tmp_path}", door_url="http://door/", door_key=DOOR))
    url, headers = objects.signed_url("PUT", "a/b", expires_s=60, size_bytes=3, sha256="ab")
    assert url.startswith("http://door/objects/a/b?")
    assert headers == {}
    query = dict(parse_qsl(urlsplit(url).query))
    assert verify_signature(DOOR, "PUT", "a/b", query, now=0).size_bytes == 3
