from __future__ import annotations

import os
import shutil
from datetime import timedelta

import pytest
from bessemer.kernel.errors import InvalidRequest, PermissionDenied, Unauthenticated
from bessemer.svckit import auth
from bessemer.svckit.auth import Authenticator
from bessemer.svckit.authorization import Authorizer
from bessemer.svckit.config import AuthConfig
from bessemer.svckit.context import Principal


def test_issue_makes_private_files_and_keeps_good_ones(tmp_path):
    folder = auth.issue(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before.keys() >= {"token", "worker.token", "data.token", "serve.token", "jwks.json", "door.key"}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    auth.issue(tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_issue_renews_tokens_that_are_about_to_expire_or_of_another_key(tmp_path):
    folder = auth.issue(tmp_path)
    key = auth.load_key(folder / "signing.key")
    (folder / "token").write_text(auth.mint(key, "admin", roles=["admin"], lifetime=timedelta(days=29)))
    (folder / "worker.token").write_text("rubbish")
    auth.issue(tmp_path)
    authenticator = Authenticator(AuthConfig(jwks_file=folder / "jwks.json"))
    for name in ("token", "worker.token"):
        assert authenticator.authenticate(f"Bearer {(folder / name).read_text()}").roles


def test_only_the_service_that_runs_loops_may_start_jobs(tmp_path):
    folder = auth.issue(tmp_path)
    authenticator, authorizer = Authenticator(AuthConfig(jwks_file=folder / "jwks.json")), Authorizer()
    start = {"action": "write", "permission": "train.trainingJobs.create", "projects": ["p"]}
    for service in ("data", "train", "eval"):
        with pytest.raises(PermissionDenied):
            authorizer.check(authenticator.authenticate(f"Bearer {(folder / f'{service}.token').read_text()}"), **start)
    serve = authenticator.authenticate(f"Bearer {(folder / 'serve.token').read_text()}")
    authorizer.check(serve, **start)
    with pytest.raises(PermissionDenied):
        authorizer.check(serve, action="write", permission="train.modelVersions.delete", projects=["p"])


def test_authenticator_follows_a_replaced_key_set(tmp_path, monkeypatch):
    monkeypatch.setattr(auth, "_RELOAD_S", 0.0)
    folder = auth.issue(tmp_path)
    authenticator = Authenticator(AuthConfig(jwks_file=folder / "jwks.json"))
    old = (folder / "token").read_text()
    authenticator.authenticate(f"Bearer {old}")
    shutil.rmtree(folder)
    auth.issue(tmp_path)
    os.utime(folder / "jwks.json", ns=(1, 1))
    with pytest.raises(Unauthenticated, match="unknown key"):
        authenticator.authenticate(f"Bearer {old}")
    assert authenticator.authenticate(f"Bearer {(folder / 'token').read_text()}").subject == "admin"


def test_authenticator_survives_a_key_set_that_goes_away(tmp_path, monkeypatch):
    monkeypatch.setattr(auth, "_RELOAD_S", 0.0)
    folder = auth.issue(tmp_path)
    authenticator = Authenticator(AuthConfig(jwks_file=folder / "jwks.json"))
    (folder / "jwks.json").unlink()
    assert authenticator.authenticate(f"Bearer {(folder / 'token').read_text()}").subject == "admin"


def test_authenticator_refuses_a_broken_key_set_at_the_start(tmp_path):
    (tmp_path / "jwks.json").write_text("{}")
    with pytest.raises(InvalidRequest, match="no set of JSON web keys"):
        Authenticator(AuthConfig(jwks_file=tmp_path / "jwks.json"))


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer " + "x" * 5_000, "Bearer a.b.c"])
def test_authenticator_refuses_what_is_no_token(tmp_path, header):
    authenticator = Authenticator(AuthConfig(jwks_file=auth.issue(tmp_path) / "jwks.json"))
    with pytest.raises(Unauthenticated):
        authenticator.authenticate(header)


def test_without_key_set_everybody_is_the_administrator():
    assert Authenticator(AuthConfig()).authenticate("").roles == {"admin"}


ALLOWED = {
    "admin": {"read", "write", "infer", "operate", "work"},
    "editor": {"read", "write", "infer"},
    "viewer": {"read"},
    "operator": {"read", "infer", "operate"},
    "inference": {"infer"},
    "worker": set(),
    "service": {"read", "infer"},
    "nobody": set(),
}


@pytest.mark.parametrize("role", ALLOWED)
def test_role_permits_its_classes_of_action_and_no_more(role):
    authorizer, principal = Authorizer(), Principal("s", frozenset({role}), frozenset({"p"}))
    for action in ("read", "write", "infer", "operate", "work"):
        permitted = _permits(authorizer, principal, action, "train.models.get", ["p"])
        assert permitted == (action in ALLOWED[role]), action


@pytest.mark.parametrize(
    ("role", "permission", "permitted"),
    [
        ("worker", "worker.tasks.acquire", True),
        ("worker", "system.events.read", False),
        ("service", "system.events.read", True),
        ("service", "worker.tasks.acquire", False),
    ],
)
def test_work_is_split_between_workers_and_services(role, permission, permitted):
    principal = Principal("s", frozenset({role}), frozenset({"*"}))
    assert _permits(Authorizer(), principal, "work", permission, []) == permitted


def test_token_is_good_for_its_own_projects_only():
    authorizer, principal = Authorizer(), Principal("s", frozenset({"admin"}), frozenset({"p", "q"}))
    assert _permits(authorizer, principal, "read", "a.b.c", ["p", "q"])
    assert not _permits(authorizer, principal, "read", "a.b.c", ["p", "r"])
    assert not _permits(authorizer, principal, "read", "a.b.c", [])
    assert not _permits(authorizer, Principal("s", frozenset({"admin"}), frozenset({"system"})), "read", "a.b.c", [])


def test_public_methods_are_for_everybody():
    assert _permits(Authorizer(), auth.ANONYMOUS, "public", "system.info.get", [])


def test_strange_subject_cannot_break_out_of_the_policy():
    principal = Principal('x" in Role::"admin"\n', frozenset({'viewer" || true'}), frozenset({"*"}))
    assert not _permits(Authorizer(), principal, "read", "a.b.c", ["p"])


def _permits(authorizer, principal, action, permission, projects):
    try:
        authorizer.check(principal, action=action, permission=permission, projects=projects)
    except PermissionDenied:
        return False
    return True
