"""Statements about files: signed, verified with the public key alone, refused when anything is not as stated."""

from __future__ import annotations

import base64
import io
import json
import stat
import tarfile

import pytest
from bessemer.artifacts.attestation import Signer, Statement, load_public_key, load_signer, read_statement
from bessemer.artifacts.bundle import PREDICATE_TYPE, checksums, digests_of, verify_bundle
from bessemer.kernel.errors import DataLoss, InvalidRequest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

STATEMENT = Statement({"a/model.onnx": "1" * 64, "archive": "2" * 64}, PREDICATE_TYPE, {"format": "onnx"})


def signer() -> Signer:
    return Signer(Ed25519PrivateKey.generate())


def test_statement_is_read_back_with_the_public_key_and_no_other():
    own, other = signer(), signer()
    envelope = own.sign(STATEMENT)
    assert read_statement(envelope, own.public) == STATEMENT
    with pytest.raises(InvalidRequest, match="not by the key"):
        read_statement(envelope, other.public)


def test_signature_covers_type_and_payload_as_dsse_says():
    own = signer()
    envelope = json.loads(own.sign(STATEMENT))
    payload = base64.b64decode(envelope["payload"])
    signed = f"DSSEv1 28 application/vnd.in-toto+json {len(payload)} ".encode() + payload
    own.public.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)


@pytest.mark.parametrize("damage", ["payload", "sig", "keyid", "none", "text"])
def test_damaged_attestation_is_refused(damage):
    own = signer()
    envelope = json.loads(own.sign(STATEMENT))
    if damage == "payload":
        changed = base64.b64decode(envelope["payload"]).replace(b"1111", b"1112", 1)
        envelope["payload"] = base64.b64encode(changed).decode()
    elif damage in {"sig", "keyid"}:
        envelope["signatures"][0][damage] = base64.b64encode(b"\0" * 64).decode()
    elif damage == "none":
        envelope["signatures"] = []
    data = b"not an envelope" if damage == "text" else json.dumps(envelope).encode()
    with pytest.raises(InvalidRequest) as caught:
        read_statement(data, own.public)
    assert caught.value.reason == "SOURCE_INVALID"


def test_key_is_made_once_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "credentials" / "artifacts.key"
    made = load_signer(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    envelope = made.sign(STATEMENT)
    assert read_statement(envelope, load_signer(path).public) == STATEMENT
    assert read_statement(envelope, load_public_key(path.with_suffix(".pub"))) == STATEMENT
    path.write_text("no key")
    with pytest.raises(InvalidRequest, match="holds no private key"):
        load_signer(path)


def test_folder_is_what_was_stated_or_says_which_file_is_not(tmp_path):
    (tmp_path / "inner").mkdir()
    for name in ("model.bin", "inner/card.md"):
        (tmp_path / name).write_text(name)
    stated = Statement({**digests_of(tmp_path), "archive": "3" * 64}, PREDICATE_TYPE, {})
    verify_bundle(digests_of(tmp_path), stated)
    assert checksums(stated.subjects).splitlines()[1].endswith("  inner/card.md")
    (tmp_path / "model.bin").write_text("else")
    with pytest.raises(DataLoss, match=r"model\.bin was changed"):
        verify_bundle(digests_of(tmp_path), stated)
    (tmp_path / "model.bin").unlink()
    with pytest.raises(DataLoss, match=r"model\.bin is missing"):
        verify_bundle(digests_of(tmp_path), stated)
    with pytest.raises(InvalidRequest, match="no export"):
        verify_bundle({}, Statement({}, "urn:something:else", {}))


def test_archive_that_hides_a_second_file_of_a_name_or_a_link_is_refused(tmp_path):
    for kind in ("twice", "link"):
        path = tmp_path / f"{kind}.tar"
        with tarfile.open(path, "w") as tar:
            entry = tarfile.TarInfo("model.bin")
            entry.size = 1
            tar.addfile(entry, io.BytesIO(b"a"))
            if kind == "link":
                entry = tarfile.TarInfo("other")
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(entry, io.BytesIO(b"b"))
        with pytest.raises(DataLoss, match="no plain file or comes twice"):
            digests_of(path)
