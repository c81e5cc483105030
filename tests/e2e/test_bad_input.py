"""Hostile and broken input over the real stack: each gets a typed error, and the good rest goes on."""

from __future__ import annotations

import io
import json
import math
import tarfile
import zipfile
from pathlib import Path

import pytest
from bessemer.cli.main import app
from bessemer.kernel.errors import BessemerError, FailedPrecondition, InvalidRequest, NotFound
from bessemer.sdk import JobNotSuccessful
from typer.testing import CliRunner

PROJECT = "projects/bad"
JUNK = bytes(range(256)) * 64


def hostile_tar(path, documents):
    good = {f"good/{n}.txt": file.read_bytes() for n, file in enumerate(sorted(documents.glob("*/METADATA"))[:12])}
    files = {
        **good,
        "empty.md": b"",
        "corrupt.pdf": b"%PDF-1.7\n" + JUNK,
        "junk.bin": JUNK,
        "damaged.txt": b"caf\xc3\x28 \xff\xfe\xfd" * 400,
        "../escape.md": good["good/0.txt"],
        "/absolute.md": good["good/0.txt"],
    }
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("link.md")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


def zip_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.txt", b"0" * 300_000_000)
    return path


@pytest.fixture(scope="module")
def client(embedded):
    with embedded.client() as connected:
        connected.data.create_project(project_id="bad", project={"display_name": "Bad"})
        connected.data.create_dataset(parent=PROJECT, dataset_id="text", dataset={"kind": "DATASET_KIND_TEXT"})
        yield connected


@pytest.fixture(scope="module")
def base(client, tiny_model_archive):
    upload = client.upload(PROJECT, tiny_model_archive)
    task = {"model": f"{PROJECT}/models/base", "upload": upload.name}
    job = client.wait(client.train.create_model_job(parent=PROJECT, model_job={"import": task}).name)
    return client.train.get_model_version(name=job.model_version)


def curate(client, base, *paths, **recipe):
    job = {
        "dataset": f"{PROJECT}/datasets/text",
        "uploads": [client.upload(PROJECT, path).name for path in paths],
        "recipe": {"kind": "DATASET_KIND_TEXT", "sequence_length": 64, **recipe},
        "tokenizer": base.tokenizer,
    }
    return client.wait(client.data.create_curation_job(parent=PROJECT, curation_job=job).name)


@pytest.mark.slow
def test_hostile_files_are_counted_and_can_be_looked_at_and_the_good_ones_kept(
    client, base, embedded, documents, tmp_path
):
    job = curate(client, base, hostile_tar(tmp_path / "mixed.tar", documents))
    reasons = {reason.reason: reason.documents for reason in job.reasons}
    kept = reasons.pop("kept")
    assert kept >= 8
    assert sum(reasons.values()) >= 5, reasons
    version = client.data.get_dataset_version(name=job.dataset_version)
    sources = {row.source for row in client.data.preview_dataset_version(name=version.name, rows=50).rows}
    assert not any("escape" in source or "absolute" in source or "link" in source for source in sources)
    home = ["--home", str(embedded.home), "--project", "bad", "--output", "json"]
    command = [*home, "dataset", "rejections", "/".join(version.name.split("/")[3::2]), "--save", str(tmp_path / "out")]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    rows = json.loads(ran.output)
    assert len(rows) >= 5
    assert all(row["saved"] for row in rows)
    assert all(Path(file).resolve().is_relative_to(tmp_path / "out") for row in rows for file in row["saved"])


@pytest.mark.slow
def test_only_bad_files_fail_with_the_reasons(client, base, tmp_path):
    with pytest.raises(JobNotSuccessful) as caught:
        curate(client, base, zip_bomb(tmp_path / "bomb.zip"))
    status = caught.value.job.status
    assert status.attempt == 1, "a user's error is not retried"
    assert status.error.message


@pytest.mark.slow
def test_recipe_out_of_range_names_the_field(client, base):
    fields = {"dataset": f"{PROJECT}/datasets/text", "tokenizer": base.tokenizer}
    for key, value in (("heldout_fraction", 0.9), ("heldout_fraction", math.nan), ("near_duplicate_threshold", 2.0)):
        recipe = {"kind": "DATASET_KIND_TEXT", key: value}
        with pytest.raises(InvalidRequest) as caught:
            client.data.create_curation_job(parent=PROJECT, curation_job={**fields, "recipe": recipe})
        assert key in caught.value.fields["field"]


@pytest.mark.slow
def test_learning_rate_that_is_no_number_names_the_field(client, base):
    for rate in (math.nan, math.inf, -1.0, 0.0):
        job = {
            "base_model_version": base.name,
            "dataset_versions": [f"{PROJECT}/datasets/text/versions/v1"],
            "model": f"{PROJECT}/models/new",
            "recipe": {"cpt": {}, "learning_rate": rate},
        }
        with pytest.raises(InvalidRequest) as caught:
            client.train.create_training_job(parent=PROJECT, training_job=job)
        assert "learning_rate" in caught.value.fields["field"]


@pytest.mark.slow
def test_missing_things_are_named(client, base):
    with pytest.raises(NotFound):
        client.data.get_dataset(name=f"{PROJECT}/datasets/absent")
    job = {
        "base_model_version": base.name,
        "dataset_versions": [f"{PROJECT}/datasets/absent/versions/v1"],
        "model": f"{PROJECT}/models/new",
        "recipe": {"cpt": {}},
    }
    with pytest.raises((NotFound, FailedPrecondition), match="absent"):
        client.train.create_training_job(parent=PROJECT, training_job=job)


@pytest.mark.slow
def test_upload_with_another_digest_is_refused(client, tmp_path):
    import httpx

    upload = client.data.create_upload(parent=PROJECT, file_name="x.txt", sha256="0" * 64, size_bytes=5)
    answer = httpx.put(upload.url, content=b"hello", headers=dict(upload.headers), trust_env=False)
    assert answer.status_code >= 400
    with pytest.raises(BessemerError):
        client.data.complete_upload(name=upload.name)
