from __future__ import annotations

import uuid

import pytest
from bessemer.kernel.errors import InvalidRequest
from bessemer.kernel.ids import check_id, check_name, event_id, new_id, new_uid, parent_of, project_of
from hypothesis import given
from hypothesis import strategies as st


def test_uid_is_version_7_and_sorts_by_time():
    uids = [new_uid() for _ in range(50)]
    assert all(uuid.UUID(uid).version == 7 for uid in uids)
    assert [uid[:13] for uid in uids] == sorted(uid[:13] for uid in uids)


def test_new_id_is_a_valid_id():
    ids = {check_id(new_id("job"), "id") for _ in range(200)}
    assert len(ids) == 200


@pytest.mark.parametrize("bad", ["", "A", "9a", "-a", "a-", "a" * 64, "a.b", "a/b", "a b", "../x", "a\n"])
def test_check_id_refuses_what_is_unsafe_in_subjects_and_keys(bad):
    with pytest.raises(InvalidRequest) as caught:
        check_id(bad, "dataset_id")
    assert caught.value.fields["field"] == "dataset_id"


@given(st.text(max_size=80))
def test_check_id_never_lets_a_separator_through(text):
    try:
        check_id(text, "id")
    except InvalidRequest:
        return
    assert not set(text) & set("./\\ \n\0*>")


def test_names_are_taken_apart():
    name = "projects/p/datasets/d/versions/v1"
    assert check_name(name, "projects/*/datasets/*/versions/*") == name
    assert (parent_of(name), project_of(name)) == ("projects/p/datasets/d", "p")
    with pytest.raises(InvalidRequest):
        check_name("projects/p/models/m", "projects/*/datasets/*")


def test_event_id_is_the_same_for_the_same_revision():
    assert event_id("u", 1) == event_id("u", 1) != event_id("u", 2)
