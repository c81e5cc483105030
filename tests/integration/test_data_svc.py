"""data_svc over real gRPC, its real HTTP door, SQLite and files."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import math
import os
from datetime import UTC, datetime

import grpc
import httpx
import pytest
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.common.v1.watch_pb2 import WatchEvent
from bessemer.api.data.v1 import (
    artifact_service_pb2 as artifacts,
)
from bessemer.api.data.v1 import (
    dataset_pb2 as data,
)
from bessemer.api.data.v1 import (
    dataset_service_pb2 as datasets,
)
from bessemer.api.data.v1 import (
    feedback_service_pb2 as feedback,
)
from bessemer.api.data.v1 import (
    project_service_pb2 as projects,
)
from bessemer.api.data.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from bessemer.api.data.v1.dataset_service_pb2_grpc import CurationServiceStub, DatasetServiceStub
from bessemer.api.data.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from bessemer.api.data.v1.project_service_pb2_grpc import ProjectServiceStub
from bessemer.kernel.clock import ManualClock
from bessemer.kernel.errors import BessemerError
from bessemer.kernel.ids import id_of
from bessemer.svckit.objects_files import FileObjects
from bessemer.svckit.status import from_rpc_error
from data_svc.app.uploads import incoming_key
from data_svc.domain.partitions import result_name, work_prefix
from data_svc.reconcile import Cleaner
from data_svc.wiring import build

from tests.fixtures.running import running

PROJECT = "projects/plant"
TEXT = data.DatasetKind.DATASET_KIND_TEXT


@pytest.fixture
async def service(tmp_path):
    async with running("data", build, tmp_path) as it:
        await ProjectServiceStub(it.channel).CreateProject(projects.CreateProjectRequest(project_id="plant"))
        yield it


@pytest.fixture
async def http():
    async with httpx.AsyncClient(timeout=10) as client:
        yield client


async def refused(call) -> BessemerError:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def announce(service, content: bytes, **fields):
    request = artifacts.CreateUploadRequest(
        parent=PROJECT,
        file_name="manual.txt",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        **fields,
    )
    return await ArtifactServiceStub(service.channel).CreateUpload(request)


async def upload(service, http, content: bytes, **fields):
    announced = await announce(service, content, **fields)
    if not announced.complete:
        answer = await http.put(announced.url, content=content, headers=dict(announced.headers))
        assert answer.status_code == 201, answer.text
    complete = artifacts.CompleteUploadRequest(name=announced.name)
    return await ArtifactServiceStub(service.channel).CompleteUpload(complete)


async def test_project_asked_for_twice_with_one_request_id_is_made_once(service):
    stub = ProjectServiceStub(service.channel)
    request = projects.CreateProjectRequest(project_id="mill", request_id="again-1")
    first = await stub.CreateProject(request)
    assert await stub.CreateProject(request) == first
    request.project_id = "forge"
    assert (await refused(stub.CreateProject(request))).reason == "REQUEST_ID_REUSED"
    request.request_id, request.project_id = "again-2", "mill"
    assert (await refused(stub.CreateProject(request))).reason == "RESOURCE_EXISTS"
    listed = await stub.ListProjects(projects.ListProjectsRequest())
    assert [project.name for project in listed.projects] == [PROJECT, "projects/mill"]


async def test_upload_put_through_the_door_can_be_read_back(service, http):
    content = os.urandom(3 * 2**20 + 7)
    done = await upload(service, http, content)
    assert done.complete
    assert not done.url
    again = await announce(service, content)
    assert again.complete
    assert not again.url
    stub = ArtifactServiceStub(service.channel)
    got = await stub.GetUpload(artifacts.GetUploadRequest(name=done.name))
    assert got == done
    download = await stub.CreateDownload(artifacts.CreateDownloadRequest(parent=PROJECT, artifact=done.artifact))
    assert (await http.get(download.url)).content == content
    part = await http.get(download.url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])


async def test_upload_completed_before_its_bytes_arrived_is_not_found(service):
    announced = await announce(service, b"not sent")
    call = ArtifactServiceStub(service.channel).CompleteUpload(artifacts.CompleteUploadRequest(name=announced.name))
    assert (await refused(call)).code == "NOT_FOUND"


async def test_upload_of_other_bytes_fails_and_the_right_ones_heal_what_is_stored(service, http, tmp_path):
    content = b"what was meant"
    announced = await announce(service, content)
    arrived = tmp_path / "objects" / incoming_key(announced.name)
    arrived.parent.mkdir(parents=True)
    arrived.write_bytes(b"what was sent!")  # an S3 server would take anything
    damaged = tmp_path / "objects" / announced.artifact.key
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"what has rotted")
    stub = ArtifactServiceStub(service.channel)
    complete = artifacts.CompleteUploadRequest(name=announced.name)
    assert (await refused(stub.CompleteUpload(complete))).reason == "CHECKSUM_MISMATCH"
    assert (await http.put(announced.url, content=content)).status_code == 201
    assert (await stub.CompleteUpload(complete)).complete
    assert damaged.read_bytes() == content
    assert not arrived.exists()


async def test_upload_announced_with_a_wrong_size_does_not_harm_the_right_bytes(service, http, tmp_path):
    content = b"the same bytes"
    done = await upload(service, http, content)
    wrong = artifacts.CreateUploadRequest(
        parent=PROJECT, file_name="x", sha256=done.artifact.sha256, size_bytes=len(content) + 1
    )
    stub = ArtifactServiceStub(service.channel)
    announced = await stub.CreateUpload(wrong)
    assert not announced.complete
    assert (await http.put(announced.url, content=content)).status_code == 400
    arrived = tmp_path / "objects" / incoming_key(announced.name)
    arrived.write_bytes(content)
    error = await refused(stub.CompleteUpload(artifacts.CompleteUploadRequest(name=announced.name)))
    assert error.reason == "CHECKSUM_MISMATCH"
    assert (await announce(service, content)).complete


async def test_bytes_of_a_given_up_upload_and_old_work_are_cleared_away(service, http, tmp_path):
    content = b"left behind"
    announced = await announce(service, content)
    assert (await http.put(announced.url, content=content)).status_code == 201
    arrived = tmp_path / "objects" / incoming_key(announced.name)
    objects, clock = FileObjects(tmp_path / "objects"), ManualClock(datetime.now(UTC))
    work = f"{work_prefix(id_of(PROJECT))}key/{result_name(datetime.now(UTC).date(), 'f' * 64)}"
    objects.put_bytes(work, b"a partition")
    cleaner = Cleaner(service.service.store, objects, clock)
    assert await cleaner.clean() == 0
    assert arrived.exists()
    clock.advance(2 * 86_400)
    assert await cleaner.clean() == 1
    assert not arrived.exists()
    clock.advance(30 * 86_400)
    assert await cleaner.clean() == 1
    assert not objects.path(work).exists()


async def test_door_refuses_what_the_url_does_not_allow(service, http, tmp_path):
    content = b"steel"
    url = (await announce(service, content)).url
    answers = {
        "longer": await http.put(url, content=content + b"!"),
        "longer without a length": await http.put(url, content=_chunks(content, b"!")),
        "other bytes": await http.put(url, content=b"STEEL"),
        "forged": await http.put(url.replace("signature=", "signature=0"), content=content),
        "another key": await http.put(url.replace("/incoming/", "/blobs/"), content=content),
        "another method": await http.get(url),
        "a way out": await http.put(url.replace("/objects/projects", "/objects/%2e%2e/projects"), content=content),
    }
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "longer": 400,
        "longer without a length": 400,
        "other bytes": 422,
        "forged": 403,
        "another key": 403,
        "another method": 403,
        "a way out": 403,
    }
    assert answers["other bytes"].json()["error"]["reason"] == "CHECKSUM_MISMATCH"
    assert not list((tmp_path / "data" / "scratch").iterdir())
    assert (await http.put(url, content=content)).status_code == 201


async def _chunks(*parts):
    for part in parts:
        yield part


async def test_put_onto_a_full_disk_says_so_and_leaves_nothing(service, http, tmp_path, monkeypatch):
    content = b"slag"
    announced = await announce(service, content)

    def full(_):
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        answer = await http.put(announced.url, content=content)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (507, "STORAGE_FULL")
    assert not list((tmp_path / "data" / "scratch").iterdir())
    assert (await http.put(announced.url, content=content)).status_code == 201


async def test_download_of_another_projects_key_is_refused(service):
    stub = ArtifactServiceStub(service.channel)
    digest = "0" * 64
    for key in (f"projects/mill/blobs/sha256/{digest}", "projects/plant/../mill/x", "projects/plant/incoming/x"):
        artifact = ArtifactRef(key=key, sha256=digest)
        call = stub.CreateDownload(artifacts.CreateDownloadRequest(parent=PROJECT, artifact=artifact))
        assert (await refused(call)).code == "INVALID_ARGUMENT"
    artifact = ArtifactRef(key=f"projects/plant/blobs/sha256/{digest}", sha256=digest)
    call = stub.CreateDownload(artifacts.CreateDownloadRequest(parent=PROJECT, artifact=artifact))
    assert (await refused(call)).code == "NOT_FOUND"


async def make_dataset(service, name="manuals", kind=TEXT):
    request = datasets.CreateDatasetRequest(parent=PROJECT, dataset_id=name, dataset=data.Dataset(kind=kind))
    return await DatasetServiceStub(service.channel).CreateDataset(request)


async def test_datasets_are_listed_in_pages(service):
    made = [(await make_dataset(service, f"set-{number}")).name for number in range(5)]
    stub, found, token = DatasetServiceStub(service.channel), [], ""
    while True:
        page = await stub.ListDatasets(datasets.ListDatasetsRequest(parent=PROJECT, page_size=2, page_token=token))
        found += [dataset.name for dataset in page.datasets]
        token = page.next_page_token
        if not token:
            break
    assert found == made
    other = datasets.ListDatasetsRequest(parent="projects/mill", page_token="bm90aGluZw")
    assert (await refused(stub.ListDatasets(other))).reason == "PAGE_TOKEN_INVALID"
    call = stub.GetDataset(datasets.GetDatasetRequest(name=f"{PROJECT}/datasets/none"))
    assert (await refused(call)).reason == "RESOURCE_NOT_FOUND"


async def test_curation_job_with_a_mistake_is_refused_with_its_reason(service, http):
    await make_dataset(service)
    done = await upload(service, http, b"A furnace holds the charge until the lining glows.")
    tokenizer = (await upload(service, http, b"{}")).artifact
    announced = await announce(service, b"never sent")
    good = data.CurationJob(dataset=f"{PROJECT}/datasets/manuals", uploads=[done.name], tokenizer=tokenizer)
    good.recipe.heldout_fraction = 0.1
    outside = ArtifactRef(key=tokenizer.key.replace("plant", "mill"), sha256=tokenizer.sha256, size_bytes=2)
    gone = ArtifactRef(key=f"{PROJECT}/blobs/sha256/{'0' * 64}", sha256="0" * 64, size_bytes=2)
    expected = {
        "unknown dataset": ({"dataset": f"{PROJECT}/datasets/none"}, "RESOURCE_NOT_FOUND", ""),
        "unknown upload": ({"uploads": [f"{PROJECT}/uploads/none"]}, "RESOURCE_NOT_FOUND", ""),
        "incomplete upload": ({"uploads": [announced.name]}, "SOURCE_INVALID", ""),
        "no source": ({"uploads": []}, "FIELD_INVALID", "curation_job.uploads"),
        "two sources": (
            {"source_version": f"{PROJECT}/datasets/manuals/versions/v1"},
            "FIELD_INVALID",
            "curation_job.source_version",
        ),
        "not a number": (
            {"recipe": data.CurationRecipe(heldout_fraction=math.nan)},
            "FIELD_INVALID",
            "curation_job.recipe.heldout_fraction",
        ),
        "out of range": (
            {"recipe": data.CurationRecipe(sequence_length=8)},
            "FIELD_INVALID",
            "curation_job.recipe.sequence_length",
        ),
        "another kind": (
            {"recipe": data.CurationRecipe(kind=data.DatasetKind.DATASET_KIND_CHAT)},
            "FIELD_INVALID",
            "curation_job.recipe.kind",
        ),
        "no tokenizer": ({"tokenizer": None}, "FIELD_INVALID", "curation_job.tokenizer"),
        "tokenizer of another project": ({"tokenizer": outside}, "FIELD_INVALID", "curation_job.tokenizer.key"),
        "tokenizer that is not there": ({"tokenizer": gone}, "RESOURCE_NOT_FOUND", ""),
    }
    stub = CurationServiceStub(service.channel)
    for what, (change, reason, field) in expected.items():
        job = data.CurationJob()
        job.CopyFrom(good)
        for name, value in change.items():
            job.ClearField(name)
            job.MergeFrom(data.CurationJob(**{name: value}))
        call = stub.CreateCurationJob(datasets.CreateCurationJobRequest(parent=PROJECT, curation_job=job))
        error = await refused(call)
        assert (error.reason, error.fields.get("field", "")) == (reason, field), f"{what}: {error.message}"
    listed = await stub.ListCurationJobs(datasets.ListCurationJobsRequest(parent=PROJECT))
    assert not listed.curation_jobs


async def test_curation_job_refuses_sources_whose_owner_does_not_allow_it(service, http):
    await make_dataset(service)
    tokenizer = (await upload(service, http, b"{}")).artifact
    stub = CurationServiceStub(service.channel)
    for terms, reason in (
        ({"retain_until": "2001-12-31"}, "RETENTION_EXPIRED"),
        ({"consent": "none", "license": "CC-BY-4.0"}, "CONSENT_MISSING"),
        ({"license": "CC-BY-4.0", "consent": "internal-training", "retain_until": "2999-12-31"}, ""),
    ):
        source = await upload(service, http, b"A furnace holds the charge until the lining glows.", **terms)
        assert {name: getattr(source, name) for name in terms} == terms
        job = data.CurationJob(dataset=f"{PROJECT}/datasets/manuals", uploads=[source.name], tokenizer=tokenizer)
        job.recipe.heldout_fraction = 0.1
        call = stub.CreateCurationJob(datasets.CreateCurationJobRequest(parent=PROJECT, curation_job=job))
        if reason:
            assert (await refused(call)).reason == reason
        else:
            [pinned] = (await call).inputs.uploads
            assert {name: getattr(pinned, name) for name in terms} == terms
    wrong = await refused(announce(service, b"x", retain_until="2026-02-30"))
    assert (wrong.reason, wrong.fields["field"]) == ("FIELD_INVALID", "retain_until")


async def test_curation_job_is_queued_pinned_replayed_watched_and_cancelled(service, http):
    await make_dataset(service)
    done = await upload(service, http, b"Water cools the mould, and the ladle pours the melt.")
    tokenizer = (await upload(service, http, b"{}")).artifact
    job = data.CurationJob(
        dataset=f"{PROJECT}/datasets/manuals",
        uploads=[done.name],
        tokenizer=tokenizer,
        recipe=data.CurationRecipe(sequence_length=64),
    )
    request = datasets.CreateCurationJobRequest(parent=PROJECT, curation_job=job, request_id="job-1")
    stub = CurationServiceStub(service.channel)
    queued = await stub.CreateCurationJob(request)
    assert queued.status.state == JobState.JOB_STATE_QUEUED
    assert queued.recipe == data.CurationRecipe(
        kind=TEXT,
        sequence_length=64,
        heldout_fraction=0.1,
        seed=0,
        min_characters=200,
        near_duplicate_threshold=0.7,
        parse_failures_max=0.05,
        classifier_threshold=0,
        sample_fraction=1,
        semantic_duplicate_threshold=0,
        tokens_max=0,
        quality=data.QualityProfile.QUALITY_PROFILE_ENTERPRISE,
    )
    assert queued.inputs.uploads[0].artifact == done.artifact
    assert (await stub.CreateCurationJob(request)).name == queued.name
    events, states = [], []
    async with asyncio.timeout(60):
        async for step in stub.WatchCurationJob(datasets.WatchCurationJobRequest(name=queued.name)):
            if not events:
                await stub.CancelCurationJob(datasets.CancelCurationJobRequest(name=queued.name))
            events.append(step.event)
            states.append(step.curation_job.status.state)
    assert events[0] == WatchEvent.WATCH_EVENT_SNAPSHOT
    assert states[-1] == JobState.JOB_STATE_CANCELLED
    again = await stub.CancelCurationJob(datasets.CancelCurationJobRequest(name=queued.name))
    assert again.status.state == JobState.JOB_STATE_CANCELLED


async def test_feedback_is_kept_and_nonsense_is_refused(service):
    stub = FeedbackServiceStub(service.channel)
    record = feedback.FeedbackRecord(
        response_id="r1",
        rating=feedback.Rating.RATING_DOWN,
        prompt_json=json.dumps([{"role": "user", "content": "How hot?"}]),
        answer="Cold.",
        edited_answer="1600 degrees.",
    )
    await stub.SubmitFeedback(feedback.SubmitFeedbackRequest(parent=PROJECT, feedback=record))
    listed = await stub.ListFeedback(feedback.ListFeedbackRequest(parent=PROJECT))
    assert [kept.edited_answer for kept in listed.feedback] == ["1600 degrees."]
    for field, value in {"answer": "x" * 65_537, "prompt_json": "[1]", "comment": "y" * 4097}.items():
        bad = feedback.FeedbackRecord()
        bad.CopyFrom(record)
        setattr(bad, field, value)
        error = await refused(stub.SubmitFeedback(feedback.SubmitFeedbackRequest(parent=PROJECT, feedback=bad)))
        assert error.fields["field"] == f"feedback.{field}"
    nothing = feedback.SubmitFeedbackRequest(parent=PROJECT, feedback=feedback.FeedbackRecord(response_id="r2"))
    assert (await refused(stub.SubmitFeedback(nothing))).reason == "FIELD_INVALID"
